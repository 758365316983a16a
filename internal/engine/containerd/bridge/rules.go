package bridge

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// register is the one that the rules' expressions pass values in.
const register = 1

// ensureRules replaces the bridge's table, in one transaction:
//
//	table inet berth-… {
//		chain input       { type filter hook input;      iifname BRIDGE ct state != established,related drop }
//		chain forward     { type filter hook forward;    iifname BRIDGE oifname BRIDGE drop
//		                                                  oifname BRIDGE ct state != established,related drop }
//		chain postrouting { type nat hook postrouting;   ip saddr SUBNET oifname != BRIDGE masquerade }
//	}
func ensureRules(bridge string, subnet netip.Prefix) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("network: nftables: %w", err)
	}
	table := &nftables.Table{Name: bridge, Family: nftables.TableFamilyINet}
	conn.AddTable(table) // so that there is one to delete
	conn.DelTable(table)
	conn.AddTable(table)
	chain := func(kind nftables.ChainType, hook *nftables.ChainHook, priority *nftables.ChainPriority, name string) *nftables.Chain {
		return conn.AddChain(&nftables.Chain{Name: name, Table: table, Type: kind, Hooknum: hook, Priority: priority})
	}
	rule := func(chain *nftables.Chain, parts ...[]expr.Any) {
		r := &nftables.Rule{Table: table, Chain: chain}
		for _, part := range parts {
			r.Exprs = append(r.Exprs, part...)
		}
		conn.AddRule(r)
	}
	from, to := onInterface(expr.MetaKeyIIFNAME, expr.CmpOpEq, bridge), onInterface(expr.MetaKeyOIFNAME, expr.CmpOpEq, bridge)

	input := chain(nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter, "input")
	rule(input, from, unasked(), drop())
	forward := chain(nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter, "forward")
	rule(forward, from, to, drop())
	rule(forward, to, unasked(), drop())
	post := chain(nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, "postrouting")
	rule(post, fromSubnet(subnet), onInterface(expr.MetaKeyOIFNAME, expr.CmpOpNeq, bridge), []expr.Any{&expr.Masq{}})
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("network: nftables rules of %s: %w", bridge, err)
	}
	return nil
}

func removeRules(bridge string) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("network: nftables: %w", err)
	}
	conn.DelTable(&nftables.Table{Name: bridge, Family: nftables.TableFamilyINet})
	if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("network: nftables rules of %s: %w", bridge, err)
	}
	return nil
}

// onInterface compares the name of the interface that a packet came by or goes by.
func onInterface(key expr.MetaKey, op expr.CmpOp, name string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return []expr.Any{&expr.Meta{Key: key, Register: register}, &expr.Cmp{Op: op, Register: register, Data: padded}}
}

// unasked matches packets that answer nothing: neither of a connection that is there nor about one.
func unasked() []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: register},
		&expr.Bitwise{
			SourceRegister: register, DestRegister: register, Len: 4,
			Mask: binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED),
			Xor:  binaryutil.NativeEndian.PutUint32(0),
		},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: binaryutil.NativeEndian.PutUint32(0)},
	}
}

// fromSubnet matches the source address of an IPv4 packet.
func fromSubnet(subnet netip.Prefix) []expr.Any {
	const sourceOffset, length = 12, 4
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{unix.NFPROTO_IPV4}},
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: sourceOffset, Len: length},
		&expr.Bitwise{
			SourceRegister: register, DestRegister: register, Len: length,
			Mask: net.CIDRMask(subnet.Bits(), subnet.Addr().BitLen()), Xor: make([]byte, length),
		},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: subnet.Masked().Addr().AsSlice()},
	}
}

func drop() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}} }

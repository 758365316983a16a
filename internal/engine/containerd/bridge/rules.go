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

// ensureRules replaces the table, in one transaction. GROUP is of all bridges:
//
//	table inet berth-… {
//		chain input       { type filter hook input;      iifgroup GROUP ct state != established,related drop }
//		chain forward     { type filter hook forward;    iifgroup GROUP oifgroup GROUP drop
//		                                                  oifgroup GROUP ct state != established,related drop }
//		chain postrouting { type nat hook postrouting;   ip saddr SUBNET oifgroup != GROUP masquerade }
//	}
func ensureRules(name string, group uint32, subnet netip.Prefix) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("network: nftables: %w", err)
	}
	table := &nftables.Table{Name: name, Family: nftables.TableFamilyINet}
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
	from, to := ofGroup(expr.MetaKeyIIFGROUP, expr.CmpOpEq, group), ofGroup(expr.MetaKeyOIFGROUP, expr.CmpOpEq, group)

	input := chain(nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter, "input")
	rule(input, from, unasked(), drop())
	forward := chain(nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter, "forward")
	rule(forward, from, to, drop())
	rule(forward, to, unasked(), drop())
	post := chain(nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, "postrouting")
	rule(post, fromSubnet(subnet), ofGroup(expr.MetaKeyOIFGROUP, expr.CmpOpNeq, group), []expr.Any{&expr.Masq{}})
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("network: nftables rules of %s: %w", name, err)
	}
	return nil
}

func removeRules(name string) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("network: nftables: %w", err)
	}
	conn.DelTable(&nftables.Table{Name: name, Family: nftables.TableFamilyINet})
	if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("network: nftables rules of %s: %w", name, err)
	}
	return nil
}

// ofGroup compares the group of the interface that a packet came by or goes by.
func ofGroup(key expr.MetaKey, op expr.CmpOp, group uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: key, Register: register},
		&expr.Cmp{Op: op, Register: register, Data: binaryutil.NativeEndian.PutUint32(group)},
	}
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

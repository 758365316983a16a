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

	"github.com/berth-hpc/berth/internal/engine"
)

// register is the one that the rules' expressions pass values in.
const register = 1

// ensureRules replaces the table, in one transaction. GROUP is of all bridges; the last rules of each kind are for published ports,
// which jobs reach too, as if they were outside:
//
//	table inet berth-… {
//		chain early       { type filter hook prerouting; iifname SHARED ip daddr SUBNET fib daddr type != local drop }
//		chain input       { type filter hook input;      iifgroup GROUP ip daddr GATEWAY tcp dport PORT accept
//		                                                  iifgroup GROUP ct state != established,related drop }
//		chain forward     { type filter hook forward;    iifname PRIVATE oifname PRIVATE accept …
//		                                                  oifgroup GROUP ct status dnat accept
//		                                                  iifgroup GROUP oifgroup GROUP drop
//		                                                  oifgroup GROUP ct state != established,related drop }
//		chain postrouting { type nat hook postrouting;   ip saddr SUBNET oifgroup != GROUP masquerade
//		                                                  ip saddr SUBNET ct status dnat masquerade }
//		chain prerouting  { type nat hook prerouting;    ip daddr ADDRESS tcp dport OUTSIDE dnat ip to NODE:PORT … }
//		chain output      { type nat hook output;        the same }
//	}
func (b *Bridge) ensureRules() error {
	name, subnet := b.name, b.addresses.subnet
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
	from, to := ofGroup(expr.MetaKeyIIFGROUP, expr.CmpOpEq, b.group), ofGroup(expr.MetaKeyOIFGROUP, expr.CmpOpEq, b.group)

	// Not only where it would be forwarded: before that the kernel tells the sender, whoever it says it is, of a shorter way.
	early := chain(nftables.ChainTypeFilter, nftables.ChainHookPrerouting, nftables.ChainPriorityRaw, "early")
	rule(early, onInterface(expr.MetaKeyIIFNAME, b.name), inSubnet(destination, subnet), elsewhere(), drop())
	input := chain(nftables.ChainTypeFilter, nftables.ChainHookInput, nftables.ChainPriorityFilter, "input")
	if b.service != 0 {
		rule(input, from, toPort(b.addresses.gateway, unix.IPPROTO_TCP, b.service), accept())
	}
	rule(input, from, unasked(), drop())
	forward := chain(nftables.ChainTypeFilter, nftables.ChainHookForward, nftables.ChainPriorityFilter, "forward")
	for private := range b.private { // where the kernel shows bridged packets to these rules too
		rule(forward, onInterface(expr.MetaKeyIIFNAME, private), onInterface(expr.MetaKeyOIFNAME, private), accept())
	}
	rule(forward, to, published(), accept())
	rule(forward, from, to, drop())
	rule(forward, to, unasked(), drop())
	post := chain(nftables.ChainTypeNAT, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, "postrouting")
	rule(post, inSubnet(source, subnet), ofGroup(expr.MetaKeyOIFGROUP, expr.CmpOpNeq, b.group), []expr.Any{&expr.Masq{}})
	rule(post, inSubnet(source, subnet), published(), []expr.Any{&expr.Masq{}})
	pre := chain(nftables.ChainTypeNAT, nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest, "prerouting")
	output := chain(nftables.ChainTypeNAT, nftables.ChainHookOutput, nftables.ChainPriorityNATDest, "output")
	for _, p := range b.published {
		for _, port := range p.Ports {
			rule(pre, toNode(p, port))
			rule(output, toNode(p, port))
		}
	}
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

// onInterface compares the name of the interface that a packet came by or goes by.
func onInterface(key expr.MetaKey, name string) []expr.Any {
	padded := make([]byte, unix.IFNAMSIZ)
	copy(padded, name)
	return []expr.Any{&expr.Meta{Key: key, Register: register}, &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: padded}}
}

// unasked matches packets that answer nothing: neither of a connection that is there nor about one.
func unasked() []expr.Any {
	return connection(expr.CtKeySTATE, expr.CmpOpEq, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
}

// published matches packets of connections to published ports, both ways.
func published() []expr.Any {
	const destinationChanged = 1 << 5 // the kernel's IPS_DST_NAT
	return connection(expr.CtKeySTATUS, expr.CmpOpNeq, destinationChanged)
}

// connection compares some bits of what is known of a packet's connection with none.
func connection(key expr.CtKey, op expr.CmpOp, bits uint32) []expr.Any {
	none := binaryutil.NativeEndian.PutUint32(0)
	return []expr.Any{
		&expr.Ct{Key: key, Register: register},
		&expr.Bitwise{
			SourceRegister: register, DestRegister: register, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: none,
		},
		&expr.Cmp{Op: op, Register: register, Data: none},
	}
}

// toNode sends what is for a published port to the node.
func toNode(p Publication, port engine.Port) []expr.Any {
	const portRegister = 2
	protocol := byte(unix.IPPROTO_TCP)
	if port.Protocol == "udp" {
		protocol = unix.IPPROTO_UDP
	}
	return append(toPort(netip.MustParseAddr(p.Address), protocol, port.Outside()),
		&expr.Immediate{Register: register, Data: p.To.AsSlice()},
		&expr.Immediate{Register: portRegister, Data: portNumber(port.Number)},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: register, RegProtoMin: portRegister, Specified: true})
}

// toPort matches IPv4 packets to a port of an address.
func toPort(to netip.Addr, protocol byte, port int) []expr.Any {
	const portOffset, portLength = 2, 2
	return append(address(destination),
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: to.AsSlice()},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{protocol}},
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseTransportHeader, Offset: portOffset, Len: portLength},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: portNumber(port)})
}

// portNumber is a port as packets have it.
func portNumber(port int) []byte { return binaryutil.BigEndian.PutUint16(uint16(port)) } //nolint:gosec // checked

// Where an IPv4 packet has its addresses.
const (
	source      = 12
	destination = 16
	length      = 4
)

// inSubnet matches an address of an IPv4 packet.
func inSubnet(offset uint32, subnet netip.Prefix) []expr.Any {
	return append(address(offset),
		&expr.Bitwise{
			SourceRegister: register, DestRegister: register, Len: length,
			Mask: net.CIDRMask(subnet.Bits(), subnet.Addr().BitLen()), Xor: make([]byte, length),
		},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: subnet.Masked().Addr().AsSlice()})
}

// address loads an address of a packet that is of IPv4.
func address(offset uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{unix.NFPROTO_IPV4}},
		&expr.Payload{DestRegister: register, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: length},
	}
}

// elsewhere matches packets for another address than this host's.
func elsewhere() []expr.Any {
	return []expr.Any{
		&expr.Fib{Register: register, FlagDADDR: true, ResultADDRTYPE: true},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL)},
	}
}

func accept() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }
func drop() []expr.Any   { return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}} }

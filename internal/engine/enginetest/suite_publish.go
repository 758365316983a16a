package enginetest

import (
	"errors"
	"net"
	"strconv"
	"testing"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
)

// testPublish: a port of an address of the host is one attempt's until that is removed.
func testPublish(t *testing.T, s Subject) {
	publish := func(nodes int) engine.Attempt {
		a := NewAttempt(t, Script{Text: "echo ready\nsleep 100", Nodes: nodes})
		a.Publish = engine.Publish{Address: s.Address, Ports: []engine.Port{{Protocol: "tcp", Number: 8080, Host: 7081}, {Protocol: "udp", Number: 7081}}}
		return a
	}
	a, b := publish(2), publish(1)
	Start(t, s.Engine, a)
	for range 2 {
		if status, err := s.Engine.Status(t.Context(), a.ID); err != nil || status.Address != s.Address {
			t.Errorf("status is %+v, %v; want the address %s", status, err, s.Address)
		}
		if err := s.Engine.Start(t.Context(), a); !errors.Is(err, engine.ErrExists) {
			t.Errorf("Start again: %v; want ErrExists", err)
		}
	}
	at := net.JoinHostPort(s.Address, strconv.Itoa(7081))
	reason := "tcp port " + at + " is in use by another job" // which is what the job's owner reads
	if err := s.Engine.Start(t.Context(), b); !errors.Is(err, engine.ErrRefused) || image.Reason(err) != reason {
		t.Errorf("Start with a port that is taken: %v; want ErrRefused: %s", err, reason)
	}
	if status, err := s.Engine.Status(t.Context(), b.ID); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("status is %+v, %v; want ErrNotFound", status, err)
	}
	if err := s.Engine.Remove(t.Context(), a.ID); err != nil {
		t.Fatal(err)
	}
	Start(t, s.Engine, b)
	if status, err := s.Engine.Status(t.Context(), b.ID); err != nil || status.Address != s.Address {
		t.Errorf("status is %+v, %v; want the address %s", status, err, s.Address)
	}
}

// testPublishRefused: ports that are none.
func testPublishRefused(t *testing.T, s Subject) {
	for name, publish := range map[string]engine.Publish{
		"no address":  {Address: "here", Ports: []engine.Port{{Protocol: "tcp", Number: 80}}},
		"no protocol": {Address: s.Address, Ports: []engine.Port{{Number: 80}}},
		"sctp":        {Address: s.Address, Ports: []engine.Port{{Protocol: "sctp", Number: 80}}},
		"port 0":      {Address: s.Address, Ports: []engine.Port{{Protocol: "tcp"}}},
		"port 65536":  {Address: s.Address, Ports: []engine.Port{{Protocol: "tcp", Number: 80, Host: 1 << 16}}},
		"twice":       {Address: s.Address, Ports: []engine.Port{{Protocol: "tcp", Number: 80}, {Protocol: "tcp", Number: 81, Host: 80}}},
	} {
		a := NewAttempt(t, Script{Text: "exit 0"})
		a.Publish = publish
		if err := s.Engine.Start(t.Context(), a); !errors.Is(err, engine.ErrRefused) {
			t.Errorf("%s: Start: %v; want ErrRefused", name, err)
		}
	}
}

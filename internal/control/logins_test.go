package control

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-hpc/berth"
)

// oneKey is a store in which ada has the only key.
type oneKey struct{ Store }

func (oneKey) UserByKey(_ context.Context, hash string) (berth.User, berth.Key, error) {
	if hash != HashKey("right") {
		return berth.User{}, berth.Key{}, &berth.Error{Kind: berth.NotFound, Msg: "Not found"}
	}
	return berth.User{Name: "ada"}, berth.Key{}, nil
}

func failing(t *testing.T, run func(t *testing.T, login func(name, key, from string) time.Duration)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Store: oneKey{}})
		run(t, func(name, key, from string) time.Duration {
			began := time.Now()
			caller, err := s.Authenticate(t.Context(), name, key, from)
			if key == "right" && (err != nil || caller.User.Name != "ada") {
				t.Errorf("the right key: %+v, %v", caller, err)
			}
			if key != "right" {
				wantError(t, err, berth.Unauthenticated, "Unauthorized")
			}
			return time.Since(began)
		})
	})
}

func TestFailedLoginsAreSlowedDown(t *testing.T) {
	failing(t, func(t *testing.T, login func(name, key, from string) time.Duration) {
		for i := range freeFailures {
			if took := login("ada", "wrong", "192.0.2.1"); took != 0 {
				t.Errorf("failure %d took %s", i+1, took)
			}
		}
		var last time.Duration
		for i := range 8 {
			took := login("ada", "wrong", "192.0.2.1")
			if took < last || took < firstDelay || took > lastDelay {
				t.Errorf("failure %d took %s after %s", freeFailures+i+1, took, last)
			}
			last = took
		}
		if last != lastDelay {
			t.Errorf("in the end a failure takes %s, want %s", last, lastDelay)
		}
		time.Sleep(failuresKept)
		if took := login("ada", "wrong", "192.0.2.1"); took != 0 {
			t.Errorf("after a pause a failure waits for %s", took)
		}
	})
}

// TestWhoWaitsAfterFailures of a name at an address: both, and nobody else.
func TestWhoWaitsAfterFailures(t *testing.T) {
	failing(t, func(t *testing.T, login func(name, key, from string) time.Duration) {
		for range freeFailures {
			login("ada", "wrong", "192.0.2.1")
		}
		for _, test := range []struct {
			name, key, from string
			waits           bool
		}{
			{"ada", "right", "192.0.2.1", false},
			{"ada", "wrong", "192.0.2.3", true},
			{"bob", "wrong", "192.0.2.1", true},
			{"", "wrong", "192.0.2.1", true},
			{"eve", "wrong", "192.0.2.2", false},
		} {
			if took := login(test.name, test.key, test.from); took > 0 != test.waits {
				t.Errorf("%+v took %s", test, took)
			}
		}
	})
}

func TestANetworkOfIPv6IsOneAttacker(t *testing.T) {
	failing(t, func(t *testing.T, login func(name, key, from string) time.Duration) {
		for i := range freeFailures {
			login("", "wrong", fmt.Sprintf("2001:db8::%d", i))
		}
		if login("", "wrong", "2001:db8::99") == 0 {
			t.Error("another address of the network is free")
		}
		if took := login("", "wrong", "2001:db8:0:1::1"); took != 0 {
			t.Errorf("another network waits for %s", took)
		}
	})
}

// TestTooManyFailedLoginsAtATime: those beyond the bound are told so at once, and a right key is let in all the same.
func TestTooManyFailedLoginsAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Config{Store: oneKey{}})
		login := func(key string) error { return second(s.Authenticate(t.Context(), "ada", key, "192.0.2.1")) }
		for range freeFailures {
			_ = login("wrong")
		}
		done := make(chan error, maxHeld)
		for range maxHeld {
			go func() { done <- login("wrong") }()
		}
		synctest.Wait()
		began := time.Now()
		wantError(t, login("wrong"), berth.LimitReached, "Too many failed logins")
		if err := login("right"); err != nil || time.Since(began) != 0 {
			t.Errorf("after %s: %v", time.Since(began), err)
		}
		for range maxHeld {
			wantError(t, <-done, berth.Unauthenticated, "Unauthorized")
		}
		if s.logins.held != 0 {
			t.Errorf("%d places are still taken", s.logins.held)
		}
	})
}

// TestMemoryOfFailedLoginsIsBounded, whatever an attacker sends.
func TestMemoryOfFailedLoginsIsBounded(t *testing.T) {
	var l logins
	now := time.Unix(1000, 0)
	for i := range 2 * maxFailing {
		l.count(now, fmt.Sprint("user", i), fmt.Sprint("host", i))
	}
	if n := len(l.failing); n > maxFailing {
		t.Errorf("%d are remembered", n)
	}
}

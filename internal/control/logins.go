package control

import (
	"context"
	"net/netip"
	"sync"
	"time"
)

// How failed logins are slowed down.
const (
	// freeFailures is how many failures of an address or for a name are answered at once: people mistype.
	freeFailures = 5
	// failuresKept is after how long without a failure they are forgotten.
	failuresKept = time.Minute
	// firstDelay is that of the first failure that waits; it doubles up to lastDelay.
	firstDelay = 250 * time.Millisecond
	lastDelay  = 5 * time.Second
	// maxFailing bounds the addresses and names that are remembered, maxHeld the answers that are held back at a time.
	maxFailing = 8192
	maxHeld    = 256
)

// logins slows down those who fail to log in. The zero value is ready; safe for concurrent use.
type logins struct {
	mu      sync.Mutex
	failing map[string]failures
	held    int
}

// failures are those of one address or name.
type failures struct {
	count int
	last  time.Time
}

// failed counts a failure and returns when it may be answered, or when ctx ends. It is false, at once, when too many wait already.
func (l *logins) failed(ctx context.Context, now time.Time, username, from string) bool {
	delay := l.count(now, username, from)
	if delay == 0 {
		return true
	}
	if !l.hold(1) {
		return false
	}
	defer l.hold(-1)
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	return true
}

// count counts a failure and returns how long its answer is held back.
func (l *logins) count(now time.Time, username, from string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	var delay time.Duration
	if from != "" {
		delay = l.add("from "+network(from), now)
	}
	if username != "" {
		delay = max(delay, l.add("name "+username, now))
	}
	return delay
}

func (l *logins) add(who string, now time.Time) time.Duration {
	if l.failing == nil {
		l.failing = make(map[string]failures)
	}
	f, known := l.failing[who]
	if now.Sub(f.last) >= failuresKept {
		f.count = 0
	}
	if !known && len(l.failing) >= maxFailing {
		l.makeRoom(now)
	}
	f.count, f.last = f.count+1, now
	l.failing[who] = f
	if f.count <= freeFailures {
		return 0
	}
	return min(lastDelay, firstDelay<<min(f.count-freeFailures-1, 10))
}

// makeRoom forgets somebody, whoever it is: who fills the memory with ever new addresses and names is bounded by maxHeld. What is
// old goes too, as far as it is come across: a look at all of it would be work that an attacker can ask for.
func (l *logins) makeRoom(now time.Time) {
	const looks = 8
	looked := 0
	for who, f := range l.failing {
		if looked == 0 || now.Sub(f.last) >= failuresKept {
			delete(l.failing, who)
		}
		if looked++; looked == looks {
			return
		}
	}
}

// hold takes a place among those that wait, or gives it back. It is false when there is none.
func (l *logins) hold(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held+n > maxHeld {
		return false
	}
	l.held += n
	return true
}

// network returns what one attacker certainly has as a whole: an address, or the network of an IPv6 address.
func network(from string) string {
	addr, err := netip.ParseAddr(from)
	if err != nil || addr.Unmap().Is4() {
		return from
	}
	const theirs = 64
	prefix, err := addr.WithZone("").Prefix(theirs)
	if err != nil {
		return from
	}
	return prefix.String()
}

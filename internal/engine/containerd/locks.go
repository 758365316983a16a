package containerd

import (
	"context"
	"sync"
	"time"
)

// keyedLock is a lock for each name. The zero value is ready.
type keyedLock struct {
	mu    sync.Mutex
	names map[string]*lockedName
}

type lockedName struct {
	// holder holds one token: whoever took it has the lock.
	holder chan struct{}
	// users counts who has the lock or waits for it.
	users int
}

// lock waits for the lock of a name, or until ctx ends.
func (l *keyedLock) lock(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	if l.names == nil {
		l.names = make(map[string]*lockedName)
	}
	n := l.names[name]
	if n == nil {
		n = &lockedName{holder: make(chan struct{}, 1)}
		l.names[name] = n
	}
	n.users++
	l.mu.Unlock()

	select {
	case n.holder <- struct{}{}:
		return func() { <-n.holder; l.leave(name, n) }, nil
	case <-ctx.Done():
		l.leave(name, n)
		return nil, context.Cause(ctx)
	}
}

func (l *keyedLock) leave(name string, n *lockedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n.users--; n.users == 0 {
		delete(l.names, name)
	}
}

// startTimes remembers when this process started attempts, for the time until the agent has told. The zero value is ready.
type startTimes struct {
	mu    sync.Mutex
	times map[string]time.Time
}

func (s *startTimes) set(id string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.times == nil {
		s.times = make(map[string]time.Time)
	}
	s.times[id] = at
}

func (s *startTimes) get(id string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.times[id]
}

func (s *startTimes) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.times, id)
}

package control

import "sync"

// Changes tells those who wait for a job that it has changed. The zero value is ready; safe for concurrent use.
type Changes struct {
	mu       sync.Mutex
	watchers map[int64]map[chan struct{}]struct{}
}

// Publish wakes everybody who watches the job. It does not block.
func (c *Changes) Publish(number int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ch := range c.watchers[number] {
		select {
		case ch <- struct{}{}:
		default: // it is about to look anyway
		}
	}
}

// Watch returns a channel that gets a value after changes of the job; several changes may come as one. Call stop when done.
func (c *Changes) Watch(number int64) (changed <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watchers == nil {
		c.watchers = make(map[int64]map[chan struct{}]struct{})
	}
	if c.watchers[number] == nil {
		c.watchers[number] = make(map[chan struct{}]struct{})
	}
	c.watchers[number][ch] = struct{}{}
	return ch, func() { c.unwatch(number, ch) }
}

func (c *Changes) unwatch(number int64, ch chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.watchers[number], ch)
	if len(c.watchers[number]) == 0 {
		delete(c.watchers, number)
	}
}

package control

import (
	"sync"
	"time"
)

// cache keeps what the store or the engine answered for a moment, because thousands of submissions a second ask the same
// question. It holds answers only, no errors, and is bounded. The zero value is ready; safe for concurrent use.
type cache[K comparable, V any] struct {
	mu      sync.Mutex
	entries map[K]cached[V]
	// forgotten counts the changes: an answer to a question from before one is not kept.
	forgotten int
	// pass says which answers are not kept; nil keeps all.
	pass func(V) bool
	// weigh says how many bytes an answer takes, when they can be large; nil counts none. held is what all of them take.
	weigh func(V) int
	held  int
}

type cached[V any] struct {
	value  V
	until  time.Time
	weight int
}

// cacheFor is how long an answer may be old: short enough that nobody notices a change that another process made.
const cacheFor = time.Second

// maxCached and maxCachedBytes bound a cache; when it is full it is emptied, which costs one lookup each.
const (
	maxCached      = 4096
	maxCachedBytes = 16 << 20
)

// get returns the kept answer for key, or asks load and keeps its answer.
func (c *cache[K, V]) get(key K, now time.Time, load func() (V, error)) (V, error) {
	c.mu.Lock()
	entry, ok := c.entries[key]
	asked := c.forgotten
	c.mu.Unlock()
	if ok && now.Before(entry.until) {
		return entry.value, nil
	}
	value, err := load()
	if err != nil || c.pass != nil && c.pass(value) {
		return value, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.forgotten != asked {
		return value, nil
	}
	weight := 0
	if c.weigh != nil {
		weight = c.weigh(value)
	}
	if c.entries == nil || len(c.entries) >= maxCached || c.held+weight > maxCachedBytes {
		c.entries, c.held = make(map[K]cached[V]), 0
	}
	c.held += weight - c.entries[key].weight
	c.entries[key] = cached[V]{value: value, until: now.Add(cacheFor), weight: weight}
	return value, nil
}

// forget empties the cache after a change that this process made.
func (c *cache[K, V]) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forgotten++
	c.held = 0
	clear(c.entries)
}

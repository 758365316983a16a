package control

import (
	"sync"

	"github.com/berth-hpc/berth"
)

// Changes tells those who wait for jobs that something happened to them. The zero value is ready; safe for concurrent use.
type Changes struct {
	mu      sync.Mutex
	watches map[topic]map[*watch]struct{}
	// last is the id of the last record that was published.
	last int64
}

// topic is what somebody waits for: everything that happens to one job, to the jobs of an owner or of a team, or to every job; a
// change of the rights of a user; or the end of the job whose token somebody holds. Exactly one field is set.
type topic struct {
	number, token       int64
	owner, team, rights string
	every               bool
}

// watch is somebody who waits. Its fields are guarded by Changes.mu.
type watch struct {
	// woken has a value when something happened since the last look; several records may come as one.
	woken chan struct{}
	news
}

// news is what a watch knows since its last look.
type news struct {
	// first and last are the smallest and the greatest id that may have to be read, 0 when nothing is known of any.
	first, last int64
	// revoked says that what the user may do has changed: the watch is to end. It stays.
	revoked bool
}

// Publish wakes everybody who waits for what happened to the job. It does not block. Records must come in the order of their ids.
func (c *Changes) Publish(job berth.Job, record berth.Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if record.ID != c.last+1 {
		c.missed(c.last+1, record.ID-1)
	}
	c.last = record.ID
	for _, about := range [...]topic{{number: job.Number}, {owner: job.Owner}, {team: job.Team}, {every: true}} {
		for w := range c.watches[about] {
			w.know(record.ID, record.ID)
			w.wake()
		}
	}
	if job.State.Final() {
		c.revokeAll(topic{token: job.Number})
	}
}

// missed has everybody read these ids at the next look: nobody told of some of them. They may be acts, which concern no job; or
// events of a commit of which the database could not say whether it happened.
func (c *Changes) missed(first, last int64) {
	for _, watches := range c.watches {
		for w := range watches {
			w.know(first, last)
		}
	}
}

// revoke ends what a user waits for, because the user's rights or keys have changed.
func (c *Changes) revoke(user string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revokeAll(topic{rights: user})
}

func (c *Changes) revokeAll(about topic) {
	for w := range c.watches[about] {
		w.revoked = true
		w.wake()
	}
}

// end revokes one watch.
func (c *Changes) end(w *watch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.revoked = true
	w.wake()
}

// watch begins to wait for the topics. An empty one is that of jobs without a team, which nobody waits for. Call stop when done.
func (c *Changes) watch(topics ...topic) (w *watch, stop func()) {
	w = &watch{woken: make(chan struct{}, 1)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watches == nil {
		c.watches = make(map[topic]map[*watch]struct{})
	}
	for _, about := range topics {
		if c.watches[about] == nil {
			c.watches[about] = make(map[*watch]struct{})
		}
		c.watches[about][w] = struct{}{}
	}
	return w, func() { c.unwatch(w, topics) }
}

func (c *Changes) unwatch(w *watch, topics []topic) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, about := range topics {
		delete(c.watches[about], w)
		if len(c.watches[about]) == 0 {
			delete(c.watches, about)
		}
	}
}

// look returns what is known since the last look.
func (c *Changes) look(w *watch) news {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-w.woken: // by what is looked at now
	default:
	}
	known := w.news
	w.first, w.last = 0, 0
	return known
}

func (w *watch) know(first, last int64) {
	if w.first == 0 {
		w.first = first
	}
	w.last = last
}

func (w *watch) wake() {
	select {
	case w.woken <- struct{}{}:
	default: // it is about to look anyway
	}
}

package staging

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"
)

// progress counts what is done, tells of it, and knows when anything was done last. It is safe for concurrent use.
type progress struct {
	stager         *Stager
	tell           func(string)
	verb           string
	objects, bytes int64 // of the plan; 0 when it is not known

	doneObjects, doneBytes atomic.Int64
	// last is when something was done, counted from began: a clock that is set meanwhile changes nothing.
	last  atomic.Int64
	began time.Time

	mu   sync.Mutex
	told time.Time
}

func (s *Stager) progress(tell func(string), verb string) *progress {
	return &progress{stager: s, tell: tell, verb: verb, began: s.cfg.Now()}
}

func (p *progress) alive() { p.last.Store(int64(p.now())) }

func (p *progress) now() time.Duration { return p.stager.cfg.Now().Sub(p.began) }

// silent is for how long nothing was done, at most since a time.
func (p *progress) silent(since time.Duration) time.Duration {
	return p.now() - max(since, time.Duration(p.last.Load()))
}

// moved says that n bytes were moved just now.
func (p *progress) moved(n int) {
	p.alive()
	p.doneBytes.Add(int64(n))
	p.say("")
}

// finished says that an object is done, which had so many bytes that were not moved one by one.
func (p *progress) finished(bytes int64) {
	p.alive()
	p.doneObjects.Add(1)
	p.doneBytes.Add(bytes)
	p.say("")
}

// say tells how far it is, or the trouble, unless something was told just now.
func (p *progress) say(trouble string) {
	now := p.stager.cfg.Now()
	if !p.mu.TryLock() {
		return // somebody else is telling
	}
	defer p.mu.Unlock()
	if now.Sub(p.told) < tellEvery {
		return
	}
	p.told = now
	text := fmt.Sprintf("%s %d objects, %s", p.verb, p.doneObjects.Load(), size(p.doneBytes.Load()))
	if p.objects > 0 {
		text = fmt.Sprintf("%s %d of %d objects, %s of %s", p.verb, p.doneObjects.Load(), p.objects, size(p.doneBytes.Load()), size(p.bytes))
	}
	if trouble != "" {
		text += "; " + trouble + ", trying again"
	}
	p.tell(text)
}

func size(n int64) string { return humanize.IBytes(uint64(max(0, n))) }

// retry does something until it succeeds, cannot succeed, or nothing at all was done for too long. It returns the last error.
func (p *progress) retry(ctx context.Context, do func(context.Context) error) error {
	cfg := p.stager.cfg
	for pause := cfg.FirstPause; ; pause = min(2*pause, cfg.LastPause) {
		err := p.attempt(ctx, do)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case definite(err) || asRefused(err):
			return err
		case p.silent(0) >= cfg.RetryFor:
			return err
		}
		p.say(explain(err))
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

func asRefused(err error) bool {
	_, ok := errors.AsType[*Refused](err)
	return ok
}

// errStalled ends an attempt whose connection is silent.
var errStalled = errors.New("the connection is silent")

// attempt does something once, and ends it when nothing was moved by anybody for the time of a stall.
func (p *progress) attempt(ctx context.Context, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	began, stall := p.now(), p.stager.cfg.Stall
	var watch *time.Timer
	var mu sync.Mutex
	mu.Lock()
	watch = time.AfterFunc(stall, func() {
		silent := p.silent(began)
		if silent >= stall {
			cancel(errStalled)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		watch.Reset(stall - silent)
	})
	mu.Unlock()
	defer watch.Stop()
	return do(ctx)
}

package containerd

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"

	"github.com/berth-hpc/berth/internal/engine"
)

// errAbandoned ends a flight that nobody waits for any more.
var errAbandoned = errors.New("nobody waits for it any more")

// flights shares work of the same name between those who ask for it at a time. The zero value is ready.
type flights struct {
	mu      sync.Mutex
	running map[string]*flight
}

// flight is work under way. All but done and the immutable fields is guarded by flights.mu.
type flight struct {
	done    chan struct{}
	variant string
	err     error // once done is closed

	cancel  context.CancelCauseFunc
	waiting map[*waiter]struct{}
}

// waiter is one who waits for a flight.
type waiter struct {
	mu       sync.Mutex
	progress engine.Progress // nil when nobody wants to know, or the waiter has gone
}

func (w *waiter) tell(sentence string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	tell(w.progress, "%s", sentence)
}

// silence makes sure that progress is not called any more.
func (w *waiter) silence() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.progress = nil
}

// work is what a flight does. It must end soon after ctx.
type work func(ctx context.Context, progress engine.Progress) error

// do runs fn, or waits for a run of that name and variant that is under way already. A run of another variant is waited for too;
// when it failed, this one is tried: its failure may come from the variant. The work is stopped, and awaited, when the last of
// those who wait for it goes.
func (f *flights) do(ctx context.Context, name, variant string, progress engine.Progress, fn work) error {
	me := &waiter{progress: progress}
	defer me.silence()
	for {
		current, leading := f.join(ctx, name, variant, me)
		if leading != nil {
			go f.run(leading, name, current, fn)
		}
		select {
		case <-current.done:
			// Whoever joins an abandoned flight, or one of another variant, does not take its failure for an answer.
			if current.err == nil || (current.variant == variant && !errors.Is(current.err, errAbandoned)) {
				return current.err
			}
		case <-ctx.Done():
			if f.leave(current, me) {
				<-current.done
			}
			return context.Cause(ctx)
		}
	}
}

// join adds a waiter to the flight of that name. When there is none it makes one and returns the context that it is to run with.
func (f *flights) join(ctx context.Context, name, variant string, w *waiter) (current *flight, leading context.Context) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if current, ok := f.running[name]; ok {
		current.waiting[w] = struct{}{}
		return current, nil
	}
	// The work belongs to all who wait for it, so it outlives the one who asked first.
	leading, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	current = &flight{
		done: make(chan struct{}), variant: variant, cancel: cancel, waiting: map[*waiter]struct{}{w: {}},
	}
	if f.running == nil {
		f.running = make(map[string]*flight)
	}
	f.running[name] = current
	return current, leading
}

func (f *flights) run(ctx context.Context, name string, current *flight, fn work) {
	err := fn(ctx, func(sentence string) { f.report(current, sentence) })
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	current.cancel(nil)
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.running, name)
	current.err = err
	close(current.done)
}

// leave takes a waiter away and stops the flight when it was the last. It says whether it was.
func (f *flights) leave(current *flight, w *waiter) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(current.waiting, w)
	if len(current.waiting) > 0 {
		return false
	}
	current.cancel(errAbandoned)
	return true
}

func (f *flights) report(current *flight, sentence string) {
	f.mu.Lock()
	listeners := slices.Collect(maps.Keys(current.waiting))
	f.mu.Unlock()
	for _, w := range listeners {
		w.tell(sentence)
	}
}

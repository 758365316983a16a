package containerd

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/engine/containerd/cgroup"
)

const (
	// killDelay is how long an agent has to end everything and to write the rest of the output before it is killed itself.
	killDelay = 2 * time.Second
	// graceMargin is how long after the grace the engine waits for the agent, which enforces the grace.
	graceMargin = 10 * time.Second
)

// Stop is engine.Engine. The agent does the work; the engine kills everything when the agent does not end in time.
func (e *Engine) Stop(ctx context.Context, id string, grace time.Duration) (err error) {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	unlock, err := e.ids.lock(ctx, id)
	if err != nil {
		return fmt.Errorf("stop %s: %w", id, err)
	}
	defer unlock()
	record, err := e.record(ctx, id)
	if err != nil {
		return fmt.Errorf("stop %s: %w", id, err)
	}
	process, err := e.process(ctx, id)
	if err != nil {
		return fmt.Errorf("stop %s: %w", id, err)
	}
	if workers := workerIDs(record); grace <= 0 && len(workers) > 0 {
		if err := e.keepFailure(ctx, record, process); err != nil {
			return fmt.Errorf("stop %s: %w", id, err)
		}
		defer func() { err = errors.Join(err, killWorkers(workers)) }()
	}
	switch {
	case process == nil && grace > 0, process.GetStatus() == task.Status_STOPPED:
		return nil
	case process == nil: // perhaps an agent has outlived its shim
		return cgroup.Of(id).Remove(ctx)
	case process.GetStatus() == task.Status_CREATED:
		return e.signal(ctx, id, unix.SIGKILL)
	}
	return e.end(ctx, id, grace)
}

// end signals the agent and makes sure, in the background, that the container ends. Once is enough for each kind of end.
func (e *Engine) end(ctx context.Context, id string, grace time.Duration) error {
	signal, limit := unix.SIGTERM, grace+graceMargin
	if grace <= 0 {
		signal, limit = unix.SIGUSR1, killDelay
	}
	watch, begin := e.ends.begin(ctx, id, grace <= 0)
	if !begin {
		return nil
	}
	if err := e.signal(ctx, id, signal); err != nil {
		watch.cancel()
		e.ends.done(id, watch)
		return err
	}
	e.ends.running.Go(func() {
		defer e.ends.done(id, watch)
		e.killAfter(watch.ctx, id, limit)
	})
	return nil
}

// killAfter kills everything of an attempt that has not ended within limit.
func (e *Engine) killAfter(ctx context.Context, id string, limit time.Duration) {
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := e.tasks.Wait(waiting, &tasks.WaitRequest{ContainerID: id})
	if err == nil || ctx.Err() != nil || errdefs.IsNotFound(native(err)) {
		return
	}
	<-waiting.Done() // also when containerd did not answer: it may come back
	if ctx.Err() != nil {
		return
	}
	e.log.Warn("attempt did not end in time, killing it", "attempt", id, "limit", limit)
	killing, cancel := detached(ctx)
	defer cancel()
	if err := e.signal(killing, id, unix.SIGKILL); err != nil {
		e.log.Error("attempt could not be killed", "attempt", id, "error", err)
	}
}

// signal sends a signal to the agent; SIGKILL goes to all processes of the attempt. An attempt that has ended needs none.
func (e *Engine) signal(ctx context.Context, id string, signal unix.Signal) error {
	_, err := e.tasks.Kill(ctx, &tasks.KillRequest{ContainerID: id, Signal: uint32(signal), All: signal == unix.SIGKILL}) //nolint:gosec // small
	if err = native(err); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("signal %d to %s: %w", signal, id, err)
	}
	return nil
}

// endings are the ends of attempts that are under way. The zero value is ready.
type endings struct {
	mu      sync.Mutex
	watches map[string]*ending
	running sync.WaitGroup
}

type ending struct {
	ctx    context.Context //nolint:containedctx // of the background work that outlives the call
	cancel context.CancelFunc
	// now says that everything is killed now, without a grace.
	now bool
}

// begin registers the end of an attempt. It is not to begin when one that is at least as quick is under way; a graceful one is
// given up for one without grace.
func (e *endings) begin(ctx context.Context, id string, now bool) (watch *ending, begin bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if old := e.watches[id]; old != nil {
		if old.now || !now {
			return nil, false
		}
		old.cancel()
	}
	if e.watches == nil {
		e.watches = make(map[string]*ending)
	}
	watch = &ending{now: now}
	watch.ctx, watch.cancel = context.WithCancel(context.WithoutCancel(ctx))
	e.watches[id] = watch
	return watch, true
}

func (e *endings) done(id string, watch *ending) {
	watch.cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.watches[id] == watch {
		delete(e.watches, id)
	}
}

// forget gives up the end of an attempt that is removed, so that it is not taken for another start of it.
func (e *endings) forget(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if watch := e.watches[id]; watch != nil {
		watch.cancel()
		delete(e.watches, id)
	}
}

// close gives up waiting for agents that have a grace, which they enforce themselves, and waits for the other ends: they take
// killDelay and a little.
func (e *endings) close() {
	e.mu.Lock()
	for _, watch := range e.watches {
		if !watch.now {
			watch.cancel()
		}
	}
	e.mu.Unlock()
	e.running.Wait()
}

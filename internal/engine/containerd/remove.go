package containerd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/errdefs"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/crashpoint"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd/cgroup"
	"github.com/berth-hpc/berth/internal/engine/containerd/private"
)

// endTimeout is how long a killed container may take to end: a process in the kernel (a slow disk) cannot be killed at once.
const endTimeout = 30 * time.Second

// Remove is engine.Engine.
func (e *Engine) Remove(ctx context.Context, id string) error {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	unlock, err := e.ids.lock(ctx, id)
	if err != nil {
		return fmt.Errorf("remove %s: %w", id, err)
	}
	defer unlock()
	return e.remove(ctx, id, nil)
}

// remove is Remove with the lock of the id held. The first node's record goes last, so that what fails is found and done again. reserved are
// the labels of a record that may never have been made.
func (e *Engine) remove(ctx context.Context, id string, reserved map[string]string) error {
	if !engine.ValidID(id) {
		return nil // it was never there
	}
	record, err := e.containers.Get(ctx, id)
	lost := errdefs.IsNotFound(err) // containerd may have lost the record only
	switch {
	case err != nil && !lost:
		return fmt.Errorf("remove %s: %w", id, err)
	case !lost && (record.Labels[labelOwner] != e.owner || record.Labels[labelAttempt] != ""):
		return nil // another server's, or a worker
	}
	workers := workerIDs(record)
	if lost {
		record.Labels = reserved
		if workers, err = e.strayWorkers(ctx, id); err != nil {
			return err
		}
	}
	e.ends.forget(id)
	if err := e.removeNodes(ctx, id, workers); err != nil {
		return err
	}
	crashpoint.Here("engine.removed")
	if err := e.unboundScratch(id); err != nil {
		return err
	}
	if err := e.release(id, record.Labels); err != nil {
		return err
	}
	return e.removeRecord(ctx, id)
}

// removeNodes removes everything of an attempt but the first node's record.
func (e *Engine) removeNodes(ctx context.Context, id string, workers []string) error {
	if len(workers) == 0 {
		return e.removeParts(ctx, id)
	}
	nodes, ctx := errgroup.WithContext(ctx)
	nodes.SetLimit(2 * runtime.NumCPU())
	nodes.Go(func() error { return e.removeParts(ctx, id) })
	for _, worker := range workers {
		nodes.Go(func() error {
			if err := e.removeParts(ctx, worker); err != nil {
				return err
			}
			return e.removeRecord(ctx, worker)
		})
	}
	return nodes.Wait()
}

// strayWorkers returns the workers of an attempt whose first node has no record.
func (e *Engine) strayWorkers(ctx context.Context, id string) ([]string, error) {
	records, err := e.records(ctx, fmt.Sprintf("labels.%q==%s", labelAttempt, id))
	if err != nil {
		return nil, err
	}
	var workers []string
	for _, record := range records {
		workers = append(workers, record.ID)
	}
	return workers, nil
}

// removeParts removes what a node has besides its record.
func (e *Engine) removeParts(ctx context.Context, id string) error {
	there, err := e.removeTask(ctx, id)
	if err != nil {
		return err
	}
	if err := cgroup.Of(id).Remove(ctx); err != nil {
		return fmt.Errorf("remove %s: %w", id, err)
	}
	if !there { // what containerd has deleted itself leaves nothing
		if err := e.removeRemains(ctx, id); err != nil {
			return err
		}
	}
	return e.removeSnapshot(ctx, id)
}

func (e *Engine) removeRecord(ctx context.Context, id string) error {
	if err := e.containers.Delete(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("remove record of %s: %w", id, err)
	}
	e.started.forget(id)
	e.gpus.release(id)
	e.cpus.release(id)
	return nil
}

// removeTask deletes the task; one that has not ended is killed first. there is false when containerd has none.
func (e *Engine) removeTask(ctx context.Context, id string) (there bool, err error) {
	there, first := e.deleteTask(ctx, id)
	if first == nil {
		return there, nil
	}
	if err := e.signal(ctx, id, unix.SIGKILL); err != nil {
		return false, errors.Join(err, first)
	}
	waiting, cancel := context.WithTimeout(ctx, endTimeout)
	defer cancel()
	if _, err := e.tasks.Wait(waiting, &tasks.WaitRequest{ContainerID: id}); err != nil && !errdefs.IsNotFound(native(err)) {
		return false, fmt.Errorf("wait for the end of %s: %w", id, errors.Join(native(err), first))
	}
	return e.deleteTask(ctx, id)
}

func (e *Engine) deleteTask(ctx context.Context, id string) (there bool, err error) {
	_, err = e.tasks.Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: id})
	if err = native(err); err != nil && !errdefs.IsNotFound(err) {
		return false, fmt.Errorf("delete task of %s: %w", id, err)
	}
	return err == nil, nil
}

// removeRemains removes what a killed shim, or a task that was only half made, may have left: the shim, its socket, the bundle,
// and runc's state. They would be in the way of another start.
func (e *Engine) removeRemains(ctx context.Context, id string) error {
	if err := e.removeShim(ctx, id); err != nil {
		return err
	}
	_ = os.Remove(private.ShimSocket(e.cfg.Address, Namespace, id)) // it is no harm where it is not
	if e.private == nil {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(e.private.RuncRoot(), Namespace, id)); err != nil {
		return fmt.Errorf("remove runc's state of %s: %w", id, err)
	}
	return nil
}

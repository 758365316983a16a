package containerd

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"

	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
)

// Labels of an attempt's container.
const (
	labelOwner   = "berth/server"
	labelJob     = "berth/job"
	labelDir     = "berth/dir"
	labelAddress = "berth/address"
)

// Start is engine.Engine. The image is looked for first: ErrNotFound when it is not in the store and the attempt is not there
// either.
func (e *Engine) Start(ctx context.Context, a engine.Attempt) error {
	if err := a.Check(); err != nil {
		return err
	}
	if len(a.Workers) > 0 {
		return fmt.Errorf("%w: jobs of several nodes", engine.ErrRefused)
	}
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	unlock, err := e.ids.lock(ctx, a.ID)
	if err != nil {
		return fmt.Errorf("start %s: %w", a.ID, err)
	}
	defer unlock()
	if err := e.starting.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("start %s: %w", a.ID, err)
	}
	defer e.starting.Release(1)
	r, err := e.root(ctx, a.Image)
	if err != nil {
		return e.unlessThere(ctx, a.ID, err)
	}
	address, err := e.create(ctx, a, r)
	if err != nil {
		return err
	}
	return e.run(ctx, a, r, address)
}

// unlessThere turns a reason not to start an attempt into ErrExists when it is there.
func (e *Engine) unlessThere(ctx context.Context, id string, reason error) error {
	_, err := e.containers.Get(ctx, id)
	switch {
	case err == nil:
		return fmt.Errorf("start %s: %w", id, engine.ErrExists)
	case errdefs.IsNotFound(err):
		return fmt.Errorf("start %s: %w", id, reason)
	default:
		return fmt.Errorf("start %s: %w", id, err)
	}
}

// create makes the container's record, which is what a second Start collides with, and returns the attempt's address.
func (e *Engine) create(ctx context.Context, a engine.Attempt, r root) (address string, err error) {
	spec, err := typeurl.MarshalAny(e.profile.spec(a, r))
	if err != nil {
		return "", fmt.Errorf("specification of %s: %w", a.ID, err)
	}
	labels := map[string]string{labelOwner: e.owner, labelJob: strconv.FormatInt(a.Job, 10), labelDir: a.Dir}
	release, err := e.reserve(labels)
	if err != nil {
		return "", fmt.Errorf("start %s: %w", a.ID, err)
	}
	_, err = e.containers.Create(ctx, containers.Container{
		ID: a.ID, Labels: labels, Image: a.Image, Spec: spec, SnapshotKey: a.ID, Snapshotter: e.snapshotter,
		Runtime: containers.RuntimeInfo{Name: plugins.RuntimeRuncV2, Options: e.profile.runtime},
	})
	if errdefs.IsAlreadyExists(err) {
		release()
		return "", fmt.Errorf("start %s: %w", a.ID, engine.ErrExists)
	}
	if err != nil { // perhaps it was made: its address stays reserved
		return "", fmt.Errorf("record of %s: %w", a.ID, err)
	}
	return labels[labelAddress], nil
}

// run makes the record's task and starts it. What fails before the start leaves nothing behind.
func (e *Engine) run(ctx context.Context, a engine.Attempt, r root, address string) error {
	ran, err := agentapi.Begun(a.Dir)
	if err != nil {
		return e.discard(ctx, a.ID, err)
	}
	if ran {
		// The agent has run in this directory, and containerd has forgotten it, or the start that another server began came
		// through after the attempt was removed. It must not run again; the record says that it did.
		return fmt.Errorf("start %s: its output is there: %w", a.ID, engine.ErrExists)
	}
	mounts, err := e.prepare(ctx, a, r)
	if err != nil {
		return e.discard(ctx, a.ID, err)
	}
	task, err := e.tasks.Create(ctx, &tasks.CreateTaskRequest{ContainerID: a.ID, Rootfs: mount.ToProto(mounts)})
	if err != nil {
		return e.discard(ctx, a.ID, fmt.Errorf("create %s: %w", a.ID, native(err)))
	}
	if err := e.attach(a.ID, int(task.GetPid()), address); err != nil {
		return e.discard(ctx, a.ID, err)
	}
	e.started.set(a.ID, time.Now())
	if _, err := e.tasks.Start(ctx, &tasks.StartRequest{ContainerID: a.ID}); err != nil {
		return fmt.Errorf("start %s: %w", a.ID, native(err)) // nobody knows whether it runs: Status looks
	}
	return nil
}

// discard removes what a failed start has made, and returns why it failed. What cannot be removed now is in Status.
func (e *Engine) discard(ctx context.Context, id string, reason error) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	if err := e.remove(ctx, id); err != nil {
		e.log.Warn("what a failed start has left could not be removed", "attempt", id, "error", err)
	}
	return reason
}

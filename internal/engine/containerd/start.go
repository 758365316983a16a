package containerd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs"
	"github.com/containerd/typeurl/v2"

	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/crashpoint"
	"github.com/berth-hpc/berth/internal/engine"
)

// Labels of the container of an attempt's first node.
const (
	labelOwner   = "berth/server"
	labelJob     = "berth/job"
	labelDir     = "berth/dir"
	labelAddress = "berth/address"
	// labelNodes is how many nodes the attempt has, when it has several, and labelNetwork is their subnet.
	labelNodes   = "berth/nodes"
	labelNetwork = "berth/network"
)

// Start is engine.Engine. The image is looked for first: ErrNotFound when it is not in the store and the attempt is not there
// either.
func (e *Engine) Start(ctx context.Context, a engine.Attempt) error {
	if err := a.Check(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout(1+len(a.Workers)))
	defer cancel()
	unlock, err := e.ids.lock(ctx, a.ID)
	if err != nil {
		return fmt.Errorf("start %s: %w", a.ID, err)
	}
	defer unlock()
	if len(a.Workers) > 0 {
		return e.startNodes(ctx, a)
	}
	return e.inTurn(ctx, a.ID, func() error {
		r, at, err := e.create(ctx, a)
		if err != nil {
			return err
		}
		crashpoint.Here("engine.recorded")
		if err := e.make(ctx, a, r, at); err != nil {
			return e.discard(ctx, a.ID, nil, err)
		}
		crashpoint.Here("engine.made")
		return e.begin(ctx, a.ID)
	})
}

// inTurn does a part of a start when there are not too many others.
func (e *Engine) inTurn(ctx context.Context, id string, do func() error) error {
	if err := e.starting.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("start %s: %w", id, err)
	}
	defer e.starting.Release(1)
	return do()
}

// unlessThere turns a reason not to start an attempt, or none, into ErrExists when it is there.
func (e *Engine) unlessThere(ctx context.Context, id string, reason error) error {
	_, err := e.containers.Get(ctx, id)
	switch {
	case err == nil:
		return fmt.Errorf("start %s: %w", id, engine.ErrExists)
	case errdefs.IsNotFound(err) && reason == nil:
		return nil
	case errdefs.IsNotFound(err):
		return fmt.Errorf("start %s: %w", id, reason)
	default:
		return fmt.Errorf("start %s: %w", id, err)
	}
}

// create makes the first node's record, which is what a second Start collides with, and returns what the nodes are made of and where
// they are.
func (e *Engine) create(ctx context.Context, a engine.Attempt) (root, place, error) {
	r, err := e.root(ctx, a.Image)
	if err != nil {
		return root{}, place{}, e.unlessThere(ctx, a.ID, err)
	}
	if len(a.Workers) > 0 || len(a.Publish.Ports) > 0 || a.GPUs > 0 || e.cfg.PinCPUs { // one that is there would lose what it has under its name
		if err := e.unlessThere(ctx, a.ID, nil); err != nil {
			return root{}, place{}, err
		}
	}
	labels := map[string]string{labelDir: a.Dir}
	if len(a.Workers) > 0 {
		labels[labelNodes] = strconv.Itoa(1 + len(a.Workers))
	}
	at, err := e.reserve(ctx, a, labels)
	if err != nil {
		return root{}, place{}, fmt.Errorf("start %s: %w", a.ID, err)
	}
	err = e.createRecord(ctx, a, r, labels)
	switch {
	case errors.Is(err, engine.ErrExists):
		return root{}, place{}, errors.Join(err, e.unreserve(a, labels))
	case err != nil: // perhaps it was made: what it has is free when it is gone
		return root{}, place{}, e.discard(ctx, a.ID, labels, err)
	}
	ran, err := agentapi.Begun(a.Dir)
	switch {
	case err != nil:
		return root{}, place{}, e.discard(ctx, a.ID, labels, err)
	case ran:
		// The agent has run in this directory, and containerd has forgotten it, or the start that another server began came
		// through after the attempt was removed. It must not run again; the record says that it did.
		return root{}, place{}, fmt.Errorf("start %s: its output is there: %w", a.ID, engine.ErrExists)
	}
	return r, at, nil
}

// createRecord makes the record of a node. The error wraps engine.ErrExists when there is one.
func (e *Engine) createRecord(ctx context.Context, a engine.Attempt, r root, labels map[string]string) error {
	described, devices := e.profile.spec(a, r), e.gpus.of(a.ID)
	if err := e.gpus.inject(described, devices); err != nil {
		return fmt.Errorf("start %s: %w", a.ID, err)
	}
	if list := e.cpus.list(a.ID); list != "" {
		described.Linux.Resources.CPU.Cpus, labels[labelCPUs] = list, list
	}
	spec, err := typeurl.MarshalAny(described)
	if err != nil {
		return fmt.Errorf("specification of %s: %w", a.ID, err)
	}
	if len(devices) > 0 {
		labels[labelGPUs] = strings.Join(devices, " ")
	}
	labels[labelOwner], labels[labelJob] = e.owner, strconv.FormatInt(a.Job, 10)
	_, err = e.containers.Create(ctx, containers.Container{
		ID: a.ID, Labels: labels, Image: a.Image, Spec: spec, SnapshotKey: a.ID, Snapshotter: e.snapshotter,
		Runtime: containers.RuntimeInfo{Name: plugins.RuntimeRuncV2, Options: e.profile.runtime},
	})
	if errdefs.IsAlreadyExists(err) {
		return fmt.Errorf("start %s: %w", a.ID, engine.ErrExists)
	}
	if err != nil {
		return fmt.Errorf("record of %s: %w", a.ID, err)
	}
	return nil
}

// make makes the task of a record, in its network. Its agent does not run yet.
func (e *Engine) make(ctx context.Context, a engine.Attempt, r root, at place) error {
	mounts, err := e.prepare(ctx, a, r)
	if err != nil {
		return err
	}
	task, err := e.tasks.Create(ctx, &tasks.CreateTaskRequest{ContainerID: a.ID, Rootfs: mount.ToProto(mounts)})
	if err != nil {
		return fmt.Errorf("create %s: %w", a.ID, native(err))
	}
	return at.attach(a.ID, int(task.GetPid()))
}

// begin starts a task. After an error nobody knows whether it runs.
func (e *Engine) begin(ctx context.Context, id string) error {
	e.started.set(id, time.Now())
	if _, err := e.tasks.Start(ctx, &tasks.StartRequest{ContainerID: id}); err != nil {
		return fmt.Errorf("start %s: %w", id, native(err))
	}
	return nil
}

// discard removes what a failed start has made, and returns why it failed. What cannot be removed now is in Status. reserved is as for remove.
func (e *Engine) discard(ctx context.Context, id string, reserved map[string]string, reason error) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	if err := e.remove(ctx, id, reserved); err != nil {
		e.log.Warn("what a failed start has left could not be removed", "attempt", id, "error", err)
	}
	return reason
}

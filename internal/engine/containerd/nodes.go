package containerd

import (
	"context"
	"fmt"
	"strconv"

	"github.com/containerd/containerd/v2/core/containers"
	"golang.org/x/sync/errgroup"

	"github.com/berth-hpc/berth/internal/crashpoint"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd/cgroup"
)

// Labels of the container of a worker, besides labelDir: its attempt and its host name.
const (
	labelAttempt  = "berth/attempt"
	labelHostname = "berth/hostname"
)

// workerID names the container of a worker, 1 is the first of them. That of the first node has the attempt's id.
func workerID(id string, worker int) string { return workerPrefix(id) + strconv.Itoa(worker+1) }

// workerPrefix is what the names of the workers of an attempt begin with, and no other.
func workerPrefix(id string) string { return id + "-" }

// workerIDs returns those of the attempt whose first node has the record.
func workerIDs(record containers.Container) []string {
	nodes, err := strconv.Atoi(record.Labels[labelNodes])
	if err != nil {
		return nil
	}
	ids := make([]string, 0, nodes-1)
	for i := 1; i < nodes; i++ {
		ids = append(ids, workerID(record.ID, i))
	}
	return ids
}

// nodeIDs returns those of all nodes of an attempt.
func nodeIDs(a engine.Attempt) []string {
	ids := []string{a.ID}
	for i := range a.Workers {
		ids = append(ids, workerID(a.ID, i+1))
	}
	return ids
}

// startNodes starts all nodes of an attempt or none. They are made side by side, and the first is started when all others run. None
// of them holds a turn while it waits for another.
func (e *Engine) startNodes(ctx context.Context, a engine.Attempt) error {
	var r root
	var first place
	err := e.inTurn(ctx, a.ID, func() (err error) {
		r, first, err = e.create(ctx, a)
		return err
	})
	if err != nil {
		return err
	}
	if err := e.makeNodes(ctx, a, r, first); err != nil {
		return e.discard(ctx, a.ID, nil, err)
	}
	crashpoint.Here("engine.workers")
	return e.inTurn(ctx, a.ID, func() error { return e.begin(ctx, a.ID) })
}

// makeNodes makes all nodes of an attempt and starts all but the first.
func (e *Engine) makeNodes(ctx context.Context, a engine.Attempt, r root, first place) error {
	addresses := []string{first.String()}
	for i := range a.Workers {
		addresses = append(addresses, first.worker(i+1).String())
	}
	if err := a.WritePeers(addresses); err != nil {
		return err
	}
	if err := first.open(); err != nil {
		return fmt.Errorf("network of %s: %w", a.ID, err)
	}
	nodes, making := errgroup.WithContext(ctx)
	for i, w := range a.Workers {
		worker := a
		worker.ID, worker.Hostname, worker.Dir, worker.Workers = workerID(a.ID, i+1), w.Hostname, w.Dir, nil
		nodes.Go(func() error {
			return e.inTurn(making, worker.ID, func() error { return e.startWorker(making, a.ID, worker, r, first.worker(i+1)) })
		})
	}
	nodes.Go(func() error {
		return e.inTurn(making, a.ID, func() error { return e.make(making, a, r, first) })
	})
	return nodes.Wait()
}

// startWorker makes a worker of an attempt and starts it.
func (e *Engine) startWorker(ctx context.Context, attempt string, worker engine.Attempt, r root, at place) error {
	labels := map[string]string{labelAttempt: attempt, labelHostname: worker.Hostname, labelDir: worker.Dir}
	if err := e.createRecord(ctx, worker, r, labels); err != nil {
		return err
	}
	if err := e.make(ctx, worker, r, at); err != nil {
		return err
	}
	return e.begin(ctx, worker.ID)
}

// killWorkers kills every process of workers and returns at once.
func killWorkers(ids []string) error {
	for _, id := range ids {
		if err := cgroup.Of(id).Kill(); err != nil {
			return err
		}
	}
	return nil
}

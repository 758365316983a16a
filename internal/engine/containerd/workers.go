package containerd

import (
	"cmp"
	"context"
	"fmt"

	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"

	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd/cgroup"
)

// Labels of the container of a first node, which a Stop without grace sets before it kills workers: the one that had ended by itself
// by then, if any, and how.
const (
	labelStopped = "berth/stopped"
	labelFailed  = "berth/failed"
	labelDetail  = "berth/detail"
)

// failure is a worker that ended by itself before the first node did. The zero value is none.
type failure struct {
	// node is its host name, and detail says how it ended.
	node, detail string
}

// judgeWorkers adds to the status of an attempt what its workers tell.
func (e *Engine) judgeWorkers(ctx context.Context, record containers.Container, first *task.Process, status *engine.Status) error {
	workers := workerIDs(record)
	if len(workers) == 0 || status.Phase == engine.PhaseCreated {
		return nil
	}
	failed, err := e.failure(ctx, record, first, *status)
	if err != nil {
		return err
	}
	if status.Phase == engine.PhaseRunning {
		status.Failed, status.Detail = failed.node, failed.detail
		return nil
	}
	if status.Exit.Node = failed.node; failed.node != "" {
		status.Exit.Detail = failed.detail
	}
	for _, worker := range workers {
		if !status.Exit.Known || status.Exit.OutOfMemory || cgroup.Of(worker).OOMKills() == 0 {
			continue
		}
		labels, err := e.workerLabels(ctx, worker)
		if err != nil {
			return err
		}
		name := labels[labelHostname]
		if name == "" {
			continue
		}
		status.Exit.OutOfMemory = true
		status.Exit.Detail = cmp.Or(status.Exit.Detail, "the memory of "+name+" was used up")
	}
	return nil
}

// workerLabels are those of a worker, none for one that is removed just now: it tells nothing any more.
func (e *Engine) workerLabels(ctx context.Context, worker string) (map[string]string, error) {
	record, err := e.containers.Get(ctx, worker)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("worker %s: %w", worker, err)
	}
	return record.Labels, nil
}

// failure returns the first worker of an attempt that ended by itself before the first node, whose status is without that.
func (e *Engine) failure(ctx context.Context, record containers.Container, first *task.Process, status engine.Status) (failure, error) {
	if record.Labels[labelStopped] != "" {
		return failure{record.Labels[labelFailed], record.Labels[labelDetail]}, nil
	}
	end := status.Ended
	if at := exitedAt(first); !at.IsZero() {
		end = at
	}
	for _, worker := range workerIDs(record) {
		group := cgroup.Of(worker)
		alive, err := group.Populated()
		if err != nil {
			return failure{}, err
		}
		if alive {
			continue
		}
		process, err := e.process(ctx, worker)
		if err != nil {
			return failure{}, err
		}
		// One whose end nobody has seen counts as long as the first node runs: afterwards both may have ended with the machine.
		if at := exitedAt(process); status.Phase == engine.PhaseExited && (at.IsZero() || !end.IsZero() && !at.Before(end)) {
			continue
		}
		labels, err := e.workerLabels(ctx, worker)
		if err != nil {
			return failure{}, err
		}
		if name := labels[labelHostname]; name != "" {
			return failure{node: name, detail: cmp.Or(setupError(labels[labelDir]), detail(group, process))}, nil
		}
	}
	return failure{}, nil
}

// setupError is what a worker's agent has reported in its directory when it could not prepare the node, empty for nothing.
func setupError(dir string) string {
	report, err := agentapi.ReadReport(dir)
	if err != nil {
		return "" // the exit says that it ended, whatever it reported
	}
	return report.Error
}

// detail says how a worker ended.
func detail(group cgroup.Group, process *task.Process) string {
	status := process.GetExitStatus()
	switch {
	case group.OOMKills() > 0:
		return "its memory was used up"
	case process.GetStatus() != task.Status_STOPPED:
		return "how it ended is not known"
	case status > signalBase:
		return fmt.Sprintf("it was ended by signal %d", status-signalBase)
	default:
		return fmt.Sprintf("it ended with the exit code %d", status)
	}
}

// keepFailure writes down which worker has failed, before the others are ended, which then look alike. Safe to call twice.
func (e *Engine) keepFailure(ctx context.Context, record containers.Container, first *task.Process) error {
	if record.Labels[labelStopped] != "" {
		return nil
	}
	status, err := e.judge(ctx, record, first)
	if err != nil || status.Phase == engine.PhaseCreated {
		return err
	}
	failed, err := e.failure(ctx, record, first, status)
	if err != nil {
		return err
	}
	labels := map[string]string{labelStopped: "yes", labelFailed: failed.node, labelDetail: failed.detail}
	var paths []string
	for label, value := range labels {
		record.Labels[label] = value
		paths = append(paths, "labels."+label)
	}
	if _, err := e.containers.Update(ctx, record, paths...); err != nil {
		return fmt.Errorf("labels of %s: %w", record.ID, err)
	}
	return nil
}

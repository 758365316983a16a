package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"time"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd/cgroup"
)

// signalBase is added to the number of the signal that ended a process to make its exit status.
const signalBase = 128

// native makes errors of containerd's API testable by errdefs.
func native(err error) error { return errgrpc.ToNative(err) }

// Status is engine.Engine.
func (e *Engine) Status(ctx context.Context, id string) (engine.Status, error) {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	unlock, err := e.ids.lock(ctx, id) // half of a start is no phase
	if err != nil {
		return engine.Status{}, fmt.Errorf("status of %s: %w", id, err)
	}
	defer unlock()
	record, err := e.record(ctx, id)
	if err != nil {
		return engine.Status{}, err
	}
	process, err := e.process(ctx, id)
	if err != nil {
		return engine.Status{}, err
	}
	return e.judge(ctx, record, process)
}

// List is engine.Engine.
func (e *Engine) List(ctx context.Context) ([]engine.Status, error) {
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	records, err := e.records(ctx)
	if err != nil {
		return nil, err
	}
	answer, err := e.tasks.List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return nil, fmt.Errorf("list tasks: %w", native(err))
	}
	processes := make(map[string]*task.Process)
	for _, process := range answer.GetTasks() {
		processes[process.GetID()] = process
	}
	list := make([]engine.Status, 0, len(records))
	for _, record := range records {
		if record.Labels[labelAttempt] != "" {
			continue // a worker belongs to another one
		}
		process := processes[record.ID]
		if process == nil { // containerd leaves out tasks whose shim did not answer, so ask for it
			if process, err = e.process(ctx, record.ID); err != nil {
				return nil, err
			}
		}
		status, err := e.judge(ctx, record, process)
		if err != nil {
			return nil, err
		}
		list = append(list, status)
	}
	return list, nil
}

// record returns an attempt's container record, or engine.ErrNotFound.
func (e *Engine) record(ctx context.Context, id string) (containers.Container, error) {
	record, err := e.containers.Get(ctx, id)
	if errdefs.IsNotFound(err) || err == nil && (record.Labels[labelOwner] != e.owner || record.Labels[labelAttempt] != "") {
		return containers.Container{}, fmt.Errorf("attempt %s: %w", id, engine.ErrNotFound)
	}
	if err != nil {
		return containers.Container{}, fmt.Errorf("attempt %s: %w", id, err)
	}
	return record, nil
}

// records returns the container records of this server's nodes, all that pass one of the filters.
func (e *Engine) records(ctx context.Context, filters ...string) ([]containers.Container, error) {
	owned := fmt.Sprintf("labels.%q==%s", labelOwner, e.owner)
	for i, filter := range filters {
		filters[i] = owned + "," + filter
	}
	if len(filters) == 0 {
		filters = []string{owned}
	}
	records, err := e.containers.List(ctx, filters...)
	if err != nil {
		return nil, fmt.Errorf("list attempts: %w", err)
	}
	return records, nil
}

// process returns an attempt's task, nil when containerd has none.
func (e *Engine) process(ctx context.Context, id string) (*task.Process, error) {
	answer, err := e.tasks.Get(ctx, &tasks.GetRequest{ContainerID: id})
	if err == nil {
		return answer.GetProcess(), nil
	}
	if err = native(err); !errdefs.IsNotFound(err) {
		return nil, fmt.Errorf("task of %s: %w", id, err)
	}
	return nil, nil //nolint:nilnil // no task is an answer
}

// judge says what the first node's record, its task (nil: none), the agent's files and the workers mean together.
func (e *Engine) judge(ctx context.Context, record containers.Container, process *task.Process) (engine.Status, error) {
	job, err := strconv.ParseInt(record.Labels[labelJob], 10, 64)
	if err != nil {
		return engine.Status{}, fmt.Errorf("job of attempt %s: %w", record.ID, err)
	}
	found, err := look(record.Labels[labelDir])
	if err != nil {
		return engine.Status{}, fmt.Errorf("attempt %s: %w", record.ID, err)
	}
	status := engine.Status{ID: record.ID, Job: job, Address: record.Labels[labelPublic]}
	if status.Phase, err = found.phase(record.ID, process); err != nil {
		return engine.Status{}, err
	}
	if status.Phase == engine.PhaseCreated {
		return status, nil
	}
	status.Started = firstTime(found.report.Started, e.started.get(record.ID), record.CreatedAt)
	if status.Phase == engine.PhaseExited {
		status.Exit = found.exit(record.ID, process)
		status.Ended = firstTime(found.report.Ended, exitedAt(process))
	}
	if err := e.judgeWorkers(ctx, record, process, &status); err != nil {
		return engine.Status{}, err
	}
	return status, nil
}

// files is what an attempt's directory tells.
type files struct {
	// begun: the agent has written something, so the command may have been started.
	begun  bool
	report agentapi.Report
}

func look(dir string) (files, error) {
	begun, err := agentapi.Begun(dir)
	if err != nil {
		return files{}, err
	}
	report, err := agentapi.ReadReport(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return files{}, err
	}
	return files{begun: begun, report: report}, nil
}

func (f files) phase(id string, process *task.Process) (engine.Phase, error) {
	if process != nil {
		switch process.GetStatus() {
		case task.Status_CREATED:
			return engine.PhaseCreated, nil
		case task.Status_STOPPED:
			return engine.PhaseExited, nil
		case task.Status_UNKNOWN, task.Status_RUNNING, task.Status_PAUSED, task.Status_PAUSING:
			return engine.PhaseRunning, nil
		default:
			return engine.PhaseRunning, nil
		}
	}
	if !f.begun {
		// Perhaps containerd is still making it, or unmaking it after the server that asked was killed. Nothing of the job has run,
		// and a Start after the removal makes sure of that once more.
		return engine.PhaseCreated, nil
	}
	// Without its shim an agent can still be running, and will report its end.
	alive, err := cgroup.Of(id).Populated()
	switch {
	case err != nil:
		return "", err
	case alive:
		return engine.PhaseRunning, nil
	default:
		return engine.PhaseExited, nil
	}
}

func (f files) exit(id string, process *task.Process) berth.Exit {
	var exit berth.Exit
	switch {
	case !f.report.Ended.IsZero():
		exit = engine.ExitOf(f.report)
	case process != nil:
		exit = berth.Exit{Known: true, Ran: f.begun, Code: int(process.GetExitStatus())}
		if exit.Code > signalBase {
			exit.Signal = exit.Code - signalBase
		}
		if !f.begun {
			exit.Detail = "the container ended before the job began"
		}
	default:
		return berth.Exit{}
	}
	exit.OutOfMemory = exit.OutOfMemory || cgroup.Of(id).OOMKills() > 0
	return exit
}

func exitedAt(process *task.Process) time.Time {
	if at := process.GetExitedAt(); at.IsValid() {
		return at.AsTime()
	}
	return time.Time{}
}

// firstTime returns the first time that is known, in UTC.
func firstTime(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t.UTC()
		}
	}
	return time.Time{}
}

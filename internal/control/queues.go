package control

import (
	"context"
	"fmt"
	"slices"

	"github.com/berth-hpc/berth"
)

const msgNoQueue = "Queue not found"

// Queues lists the queues by name, all of them for the name "all" or "". NotFound "Queue not found" for an unknown one.
func (s *Service) Queues(ctx context.Context, _ berth.Caller, name string) ([]berth.Queue, error) {
	if name == "" || name == "all" {
		return s.cfg.Store.Queues(ctx)
	}
	queue, err := s.cfg.Store.Queue(ctx, name)
	if err != nil {
		return nil, named(err, msgNoQueue)
	}
	return []berth.Queue{queue}, nil
}

// SetQueue makes a queue or replaces it. Administrators only. Whoever may submit jobs may use a queue, and with it its application.
// Invalid when there is no such machine type or application.
func (s *Service) SetQueue(ctx context.Context, caller berth.Caller, queue berth.Queue) error {
	if err := administers(caller); err != nil {
		return err
	}
	if err := checkName(queue.Name); err != nil {
		return err
	}
	machines, err := s.machines(ctx)
	switch {
	case err != nil:
		return err
	case queue.Name == "all":
		return invalid("name", "all has a meaning of its own")
	case queue.Size < 1 || queue.Size > maxCount:
		return invalid("size", "%d is not within 1 to %d", queue.Size, maxCount)
	case !slices.ContainsFunc(machines, func(m berth.Machine) bool { return m.Name == queue.Machine }):
		return invalid("machine", "%q is not one of %s", queue.Machine, machineNames(machines))
	}
	detail := fmt.Sprintf("application=%s machine=%s size=%d", queue.Application, queue.Machine, queue.Size)
	return s.cfg.Store.SetQueue(ctx, queue, s.act(caller, berth.ActQueueSet, queue.Name, detail))
}

// RemoveQueue removes a queue, but never the default one, which clients use when nobody names another. Administrators only.
func (s *Service) RemoveQueue(ctx context.Context, caller berth.Caller, name string) error {
	if err := administers(caller); err != nil {
		return err
	}
	if name == berth.DefaultQueue {
		return &berth.Error{Kind: berth.Conflict, Msg: "The default queue is always there"}
	}
	return named(s.cfg.Store.RemoveQueue(ctx, name, s.act(caller, berth.ActQueueRemoved, name, "")), msgNoQueue)
}

package containerd

import (
	"cmp"
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	apievents "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/typeurl/v2"

	"github.com/berth-hpc/berth/internal/engine"
)

const (
	// exitsBuffered is how many exits may wait for the reader.
	exitsBuffered = 256
	// resubscribePause is between two attempts to reach containerd.
	resubscribePause = 200 * time.Millisecond
)

// Exits is engine.Engine. After each connection to containerd's events it also sends the attempts that have exited by then,
// because their events may have been lost.
func (e *Engine) Exits(ctx context.Context) <-chan string {
	exits := make(chan string, exitsBuffered)
	go func() {
		defer close(exits)
		level := slog.LevelWarn
		for ctx.Err() == nil {
			connected, err := e.follow(ctx, exits)
			if ctx.Err() != nil {
				return
			}
			if connected {
				level = slog.LevelWarn
			}
			e.log.Log(ctx, level, "events of containerd are interrupted", "error", err)
			level = slog.LevelDebug // once is enough until it is back
			select {
			case <-ctx.Done():
			case <-time.After(resubscribePause):
			}
		}
	}()
	return exits
}

// follow sends exits until the connection fails or ctx ends; connected says whether there was one.
func (e *Engine) follow(ctx context.Context, exits chan<- string) (connected bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	envelopes, failed := e.client.EventService().Subscribe(ctx, `topic=="/tasks/exit",namespace==`+Namespace)
	missed, err := e.List(ctx)
	if err != nil {
		return false, err
	}
	for _, status := range missed {
		if status.Phase == engine.PhaseExited || status.Failed != "" {
			send(ctx, exits, status.ID)
		}
	}
	for {
		select {
		case envelope := <-envelopes:
			if id, ok := exited(envelope); ok {
				send(ctx, exits, e.attemptOf(ctx, id))
			}
		case err := <-failed:
			return true, err
		case <-ctx.Done():
			return true, context.Cause(ctx)
		}
	}
}

func send(ctx context.Context, exits chan<- string, id string) {
	select {
	case exits <- id:
	case <-ctx.Done():
	}
}

// attemptOf returns the attempt that a container belongs to. An id that is not like a worker's is an attempt's.
func (e *Engine) attemptOf(ctx context.Context, id string) string {
	suffix := id[strings.LastIndexByte(id, '-')+1:]
	if _, err := strconv.Atoi(suffix); err != nil {
		return id
	}
	ctx, cancel := e.bounded(ctx)
	defer cancel()
	record, err := e.containers.Get(ctx, id)
	if err != nil {
		return id // a hint may be wrong
	}
	return cmp.Or(record.Labels[labelAttempt], id)
}

// exited returns whose end an event tells: the container's own, not that of a process that was executed in it.
func exited(envelope *events.Envelope) (id string, ok bool) {
	if envelope == nil || envelope.Event == nil {
		return "", false
	}
	event, err := typeurl.UnmarshalAny(envelope.Event)
	if err != nil {
		return "", false // not ours to understand; the slow tick sees it
	}
	exit, ok := event.(*apievents.TaskExit)
	if !ok || exit.GetID() != exit.GetContainerID() {
		return "", false
	}
	return exit.GetContainerID(), true
}

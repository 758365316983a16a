package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	queueColumns = `name, application, machine, size`
	selectQueue  = `SELECT ` + queueColumns + ` FROM queues WHERE name = $1`
	selectQueues = `SELECT ` + queueColumns + ` FROM queues ORDER BY name`
	upsertQueue  = `INSERT INTO queues (` + queueColumns + `) VALUES ($1, $2, $3, $4)
	ON CONFLICT (name) DO UPDATE SET application = excluded.application, machine = excluded.machine, size = excluded.size`
	deleteQueue   = `DELETE FROM queues WHERE name = $1`
	countQueuesOf = `SELECT count(*) FROM queues WHERE application = $1`
	countQueuesOn = `SELECT count(*) FROM queues WHERE machine = $1`
)

func scanQueue(row scanner) (q berth.Queue, err error) {
	err = row.Scan(&q.Name, &q.Application, &q.Machine, &q.Size)
	return q, err
}

// SetQueue stores a queue: a new name is added, a known one replaced. Invalid when its application or its machine type is not there.
func (s *Store) SetQueue(ctx context.Context, q berth.Queue, act berth.Act) error {
	for _, text := range []*string{&q.Name, &q.Application, &q.Machine} {
		clean(text)
	}
	return s.act(ctx, "store a queue", act, func(b *batch) error {
		if err := checkApplication(b, q.Application); err != nil {
			return err
		}
		if err := checkMachine(b, q.Machine); err != nil {
			return err
		}
		if _, err := b.exec(upsertQueue, q.Name, q.Application, q.Machine, q.Size); err != nil {
			return fmt.Errorf("upsert: %w", err)
		}
		return nil
	})
}

// checkApplication refuses an application that is not there; none is fine.
func checkApplication(b *batch, id string) error {
	if id == "" {
		return nil
	}
	_, err := scanHead(b.queryRow(selectHead, id))
	if errors.Is(err, sql.ErrNoRows) {
		return refuse(&berth.Error{Kind: berth.Invalid, Msg: "There is no application of that name", Detail: id, Err: err})
	}
	return err
}

// RemoveQueue deletes a queue, or NotFound.
func (s *Store) RemoveQueue(ctx context.Context, name string, act berth.Act) error {
	clean(&name)
	return s.act(ctx, "remove a queue", act, func(b *batch) error { return remove(b, deleteQueue, name) })
}

// Queue returns a queue, or NotFound.
func (s *Store) Queue(ctx context.Context, name string) (berth.Queue, error) {
	clean(&name)
	q, err := scanQueue(s.reads.queryRow(ctx, selectQueue, name))
	return q, wrap(ctx, "read a queue", err)
}

// Queues returns every queue by name.
func (s *Store) Queues(ctx context.Context) ([]berth.Queue, error) {
	rows, err := s.reads.query(ctx, selectQueues)
	queues, err := scanAll(rows, err, scanQueue)
	return queues, wrap(ctx, "list queues", err)
}

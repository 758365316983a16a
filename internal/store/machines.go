package store

import (
	"context"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	machineColumns = `name, description, cores, ram, gpus, scale_min, scale_max, grace, scratch, personal, price, position`
	selectMachines = `SELECT ` + machineColumns + ` FROM machines ORDER BY position, name`
	upsertMachine  = `INSERT INTO machines (` + machineColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
	ON CONFLICT (name) DO UPDATE SET description = excluded.description, cores = excluded.cores, ram = excluded.ram,
	gpus = excluded.gpus, scale_min = excluded.scale_min, scale_max = excluded.scale_max, grace = excluded.grace, scratch = excluded.scratch,
	personal = excluded.personal, price = excluded.price, position = excluded.position`
	countMachines = `SELECT count(*) FROM machines WHERE name = $1`
	deleteMachine = `DELETE FROM machines WHERE name = $1`
)

func scanMachine(row scanner) (m berth.Machine, err error) {
	var grace int64
	err = row.Scan(&m.Name, &m.Description, &m.Cores, &m.RAM, &m.GPUs, &m.ScaleMin, &m.ScaleMax, &grace, &m.Scratch, &m.Personal,
		&m.Price, &m.Position)
	m.Grace = duration(grace)
	return m, err
}

// Machines returns the machine types in the order of their positions.
func (s *Store) Machines(ctx context.Context) ([]berth.Machine, error) {
	rows, err := s.reads.query(ctx, selectMachines)
	machines, err := scanAll(rows, err, scanMachine)
	return machines, wrap(ctx, "list machine types", err)
}

// SetMachine stores a machine type: a new name is added, a known one replaced. Jobs that were submitted before keep what they got.
func (s *Store) SetMachine(ctx context.Context, m berth.Machine, act berth.Act) error {
	clean(&m.Name)
	clean(&m.Description)
	return s.act(ctx, "store a machine type", act, func(b *batch) error { return upsert(b, m) })
}

// SetMachines stores machine types like SetMachine, all or nothing. Each has a record of its own with its name as the Subject.
func (s *Store) SetMachines(ctx context.Context, machines []berth.Machine, act berth.Act) error {
	entries := make([]entry, len(machines))
	for i, m := range machines {
		act.Subject = m.Name
		var err error
		if entries[i], err = actEntry(act); err != nil {
			return err
		}
	}
	return s.write(ctx, "store machine types", func(b *batch) error {
		for i, m := range machines {
			if err := entries[i].with(b, func(b *batch) error { return upsert(b, m) }); err != nil {
				return err
			}
		}
		return nil
	})
}

func upsert(b *batch, m berth.Machine) error {
	_, err := b.exec(upsertMachine, m.Name, m.Description, m.Cores, m.RAM, m.GPUs, m.ScaleMin, m.ScaleMax, m.Grace.Microseconds(),
		m.Scratch, m.Personal, m.Price, m.Position)
	if err != nil {
		return fmt.Errorf("machine type %q: %w", m.Name, err)
	}
	return nil
}

// checkMachine refuses a machine type that is not there.
func checkMachine(b *batch, name string) error {
	var found int
	if err := b.queryRow(countMachines, name).Scan(&found); err != nil {
		return fmt.Errorf("count machine types: %w", err)
	}
	if found == 0 {
		return refuse(&berth.Error{Kind: berth.Invalid, Msg: "There is no machine of that name", Detail: name})
	}
	return nil
}

// RemoveMachine deletes a machine type, or NotFound; Conflict while a queue has it. Jobs that were submitted before run all the same.
func (s *Store) RemoveMachine(ctx context.Context, name string, act berth.Act) error {
	clean(&name)
	return s.act(ctx, "remove a machine type", act, func(b *batch) error {
		var queues int
		if err := b.queryRow(countQueuesOn, name).Scan(&queues); err != nil {
			return fmt.Errorf("count queues: %w", err)
		}
		if queues > 0 {
			return refuse(&berth.Error{
				Kind: berth.Conflict, Msg: "The machine type belongs to a queue", Detail: "give the queue another one first",
			})
		}
		return remove(b, deleteMachine, name)
	})
}

package store

import (
	"context"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	selectMachines = `SELECT name, description, cores, ram, gpus, scale_min, scale_max, price, position FROM machines
	ORDER BY position, name`
	upsertMachine = `INSERT INTO machines (name, description, cores, ram, gpus, scale_min, scale_max, price, position)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
	ON CONFLICT (name) DO UPDATE SET description = excluded.description, cores = excluded.cores, ram = excluded.ram,
	gpus = excluded.gpus, scale_min = excluded.scale_min, scale_max = excluded.scale_max, price = excluded.price,
	position = excluded.position`
)

// Machines returns the machine types in the order of their positions.
func (s *Store) Machines(ctx context.Context) ([]berth.Machine, error) {
	rows, err := s.reads.query(ctx, selectMachines)
	machines, err := scanAll(rows, err, func(row scanner) (m berth.Machine, err error) {
		err = row.Scan(&m.Name, &m.Description, &m.Cores, &m.RAM, &m.GPUs, &m.ScaleMin, &m.ScaleMax, &m.Price, &m.Position)
		return m, err
	})
	return machines, wrap(ctx, "list machine types", err)
}

// SetMachines stores machine types, all or nothing: new names are added, known ones replaced, others stay.
func (s *Store) SetMachines(ctx context.Context, machines []berth.Machine) error {
	return s.write(ctx, "store machine types", func(b *batch) error {
		for _, m := range machines {
			_, err := b.exec(upsertMachine, m.Name, m.Description, m.Cores, m.RAM, m.GPUs, m.ScaleMin, m.ScaleMax, m.Price, m.Position)
			if err != nil {
				return fmt.Errorf("machine type %q: %w", m.Name, err)
			}
		}
		return nil
	})
}

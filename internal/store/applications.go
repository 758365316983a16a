package store

import (
	"context"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	applicationColumns = `id, owner, team, public, certified, image, appdef, price, created_at, updated_at`
	selectApplication  = `SELECT ` + applicationColumns + ` FROM applications WHERE id = $1`
	selectApplications = `SELECT ` + applicationColumns + ` FROM applications ORDER BY id`
	insertApplication  = `INSERT INTO applications (` + applicationColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
	ON CONFLICT (id) DO NOTHING`
	updateApplication = `UPDATE applications SET team = $2, public = $3, certified = $4, image = $5, appdef = $6, price = $7, updated_at = $8
	WHERE id = $1`
	deleteApplication = `DELETE FROM applications WHERE id = $1`
)

func scanApplication(row scanner) (a berth.Application, err error) {
	var created, updated int64
	err = row.Scan(&a.ID, &a.Owner, &a.Team, &a.Public, &a.Certified, &a.Image, &a.AppDef, &a.Price, &created, &updated)
	a.Created, a.Updated = fromMicro(created), fromMicro(updated)
	return a, err
}

// CreateApplication adds an application to the catalogue. Conflict when there is one of its ID; NotFound when there is no such owner.
func (s *Store) CreateApplication(ctx context.Context, a berth.Application, act berth.Act) error {
	cleanApplication(&a)
	return s.act(ctx, "add an application", act, func(b *batch) error {
		if _, err := readUser(b, a.Owner); err != nil {
			return err
		}
		n, err := b.exec(insertApplication, a.ID, a.Owner, a.Team, a.Public, a.Certified, a.Image, a.AppDef, a.Price, micro(a.Created),
			micro(a.Updated))
		switch {
		case err != nil:
			return fmt.Errorf("insert: %w", err)
		case n == 0:
			return refuse(&berth.Error{Kind: berth.Conflict, Msg: "There is an application of that name", Detail: a.ID})
		}
		return nil
	})
}

// ChangeApplication stores an application again, or NotFound. Its Owner and Created stay. Jobs that were submitted before keep what
// they got.
func (s *Store) ChangeApplication(ctx context.Context, a berth.Application, act berth.Act) error {
	cleanApplication(&a)
	return s.act(ctx, "change an application", act, func(b *batch) error {
		n, err := b.exec(updateApplication, a.ID, a.Team, a.Public, a.Certified, a.Image, a.AppDef, a.Price, micro(a.Updated))
		switch {
		case err != nil:
			return fmt.Errorf("update: %w", err)
		case n == 0:
			return refuse(&berth.Error{Kind: berth.NotFound, Msg: msgNotFound})
		}
		return nil
	})
}

func cleanApplication(a *berth.Application) {
	for _, text := range []*string{&a.ID, &a.Owner, &a.Team, &a.Image, &a.AppDef} {
		clean(text)
	}
}

// RemoveApplication deletes an application, or NotFound; Conflict while a queue has it. Jobs that were submitted before run all the
// same.
func (s *Store) RemoveApplication(ctx context.Context, id string, act berth.Act) error {
	clean(&id)
	return s.act(ctx, "remove an application", act, func(b *batch) error {
		var queues int
		if err := b.queryRow(countQueuesOf, id).Scan(&queues); err != nil {
			return fmt.Errorf("count queues: %w", err)
		}
		if queues > 0 {
			return refuse(&berth.Error{
				Kind: berth.Conflict, Msg: "The application belongs to a queue", Detail: "give the queue another one first",
			})
		}
		return remove(b, deleteApplication, id)
	})
}

// Application returns an application, or NotFound.
func (s *Store) Application(ctx context.Context, id string) (berth.Application, error) {
	clean(&id)
	a, err := scanApplication(s.reads.queryRow(ctx, selectApplication, id))
	return a, wrap(ctx, "read an application", err)
}

// Applications returns the catalogue by ID.
func (s *Store) Applications(ctx context.Context) ([]berth.Application, error) {
	rows, err := s.reads.query(ctx, selectApplications)
	all, err := scanAll(rows, err, scanApplication)
	return all, wrap(ctx, "list applications", err)
}

package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/berth-hpc/berth"
)

const (
	headColumns        = `id, owner, team, public, certified, image, price, created_at, updated_at, commands, appdef_version`
	applicationColumns = headColumns + `, appdef`
	selectApplication  = `SELECT ` + applicationColumns + ` FROM applications WHERE id = $1`
	selectHead         = `SELECT ` + headColumns + ` FROM applications WHERE id = $1`
	selectHeads        = `SELECT ` + headColumns + ` FROM applications ORDER BY id`
	selectVisibleHeads = `SELECT ` + headColumns + ` FROM applications
	WHERE public OR owner = $1 OR (team <> '' AND team = $2) ORDER BY id`
	insertApplication = `INSERT INTO applications (` + applicationColumns + `)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (id) DO NOTHING`
	updateApplication = `UPDATE applications SET team = $3, public = $4, certified = $5, image = $6, price = $7, updated_at = $8,
	commands = $9, appdef_version = $10, appdef = $11 WHERE id = $1 AND updated_at = $2`
	deleteApplication   = `DELETE FROM applications WHERE id = $1`
	countApplicationsOf = `SELECT count(*) FROM applications WHERE owner = $1`
	// clearTeamOfApplications is a change like any other: who has read them before must read them again.
	clearTeamOfApplications = `UPDATE applications SET team = '', updated_at = updated_at + 1 WHERE team <> '' AND team = $1`
)

// ApplicationGuard says what must hold for a change of an application.
type ApplicationGuard struct {
	// Updated is that of the application as it was read: nobody may have changed it since.
	Updated time.Time
	// NoQueue refuses the change while a queue has the application.
	NoQueue bool
}

// scanApplication reads applicationColumns.
func scanApplication(row scanner) (berth.Application, error) {
	var definition string
	a, err := scanHead(row, &definition)
	a.AppDef = definition
	return a, err
}

// scanHead reads headColumns, and what comes after them into more.
func scanHead(row scanner, more ...any) (a berth.Application, err error) {
	var created, updated int64
	var commands string
	columns := []any{
		&a.ID, &a.Owner, &a.Team, &a.Public, &a.Certified, &a.Image, &a.Price, &created, &updated, &commands, &a.AppDefVersion,
	}
	if err := row.Scan(append(columns, more...)...); err != nil {
		return berth.Application{}, err
	}
	if err := json.Unmarshal([]byte(commands), &a.Commands); err != nil {
		return berth.Application{}, fmt.Errorf("commands of application %s: %w", a.ID, err)
	}
	a.Created, a.Updated = fromMicro(created), fromMicro(updated)
	return a, nil
}

// commandsOf are the commands of an application as they are stored.
func commandsOf(a berth.Application) (string, error) {
	text, err := json.Marshal(append([]string{}, a.Commands...))
	return string(text), err
}

// CreateApplication adds an application to the catalogue. Conflict when there is one of its ID; NotFound when there is no such owner;
// Invalid when there is no such team; LimitReached when the owner has so many already, where 0 is no limit.
func (s *Store) CreateApplication(ctx context.Context, a berth.Application, limit int, act berth.Act) error {
	cleanApplication(&a)
	commands, err := commandsOf(a)
	if err != nil {
		return err
	}
	return s.act(ctx, "add an application", act, func(b *batch) error {
		if _, err := readUser(b, a.Owner); err != nil {
			return err
		}
		if err := checkTeamName(b, a.Team); err != nil {
			return err
		}
		if err := checkLimit(b, a.Owner, limit); err != nil {
			return err
		}
		n, err := b.exec(insertApplication, a.ID, a.Owner, a.Team, a.Public, a.Certified, a.Image, a.Price, micro(a.Created),
			micro(a.Updated), commands, a.AppDefVersion, a.AppDef)
		switch {
		case err != nil:
			return fmt.Errorf("insert: %w", err)
		case n == 0:
			return refuse(&berth.Error{Kind: berth.Conflict, Msg: "There is an application of that name", Detail: a.ID})
		}
		return nil
	})
}

// checkLimit refuses one more application of an owner who has as many as the limit, where 0 is none.
func checkLimit(b *batch, owner string, limit int) error {
	if limit == 0 {
		return nil
	}
	var have int
	if err := b.queryRow(countApplicationsOf, owner).Scan(&have); err != nil {
		return fmt.Errorf("count applications: %w", err)
	}
	if have >= limit {
		return refuse(&berth.Error{
			Kind: berth.LimitReached, Msg: "You have too many applications",
			Detail: fmt.Sprintf("%d, of at most %d; remove one first", have, limit),
		})
	}
	return nil
}

// ChangeApplication stores an application again, or NotFound. Conflict when it is not any more as the guard says; Invalid when there
// is no such team. Its Owner and Created stay, its Updated must grow. Jobs that were submitted before keep what they got.
func (s *Store) ChangeApplication(ctx context.Context, a berth.Application, guard ApplicationGuard, act berth.Act) error {
	cleanApplication(&a)
	commands, err := commandsOf(a)
	if err != nil {
		return err
	}
	return s.act(ctx, "change an application", act, func(b *batch) error {
		if err := checkTeamName(b, a.Team); err != nil {
			return err
		}
		if guard.NoQueue {
			if err := checkQueues(b, a.ID, "only an administrator may change what its jobs run"); err != nil {
				return err
			}
		}
		n, err := b.exec(updateApplication, a.ID, micro(guard.Updated), a.Team, a.Public, a.Certified, a.Image, a.Price,
			micro(a.Updated), commands, a.AppDefVersion, a.AppDef)
		switch {
		case err != nil:
			return fmt.Errorf("update: %w", err)
		case n == 0:
			return notChanged(b, a.ID)
		}
		return nil
	})
}

// notChanged says why no row was written.
func notChanged(b *batch, id string) error {
	_, err := scanHead(b.queryRow(selectHead, id))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return refuse(&berth.Error{Kind: berth.NotFound, Msg: msgNotFound, Err: err})
	case err != nil:
		return err
	}
	return refuse(&berth.Error{
		Kind: berth.Conflict, Msg: "The application has been changed by somebody else", Detail: "look at it and try again",
	})
}

// checkQueues refuses what must not happen to an application while a queue has it.
func checkQueues(b *batch, id, advice string) error {
	var queues int
	if err := b.queryRow(countQueuesOf, id).Scan(&queues); err != nil {
		return fmt.Errorf("count queues: %w", err)
	}
	if queues > 0 {
		return refuse(&berth.Error{Kind: berth.Conflict, Msg: "The application belongs to a queue", Detail: advice})
	}
	return nil
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
		if err := checkQueues(b, id, "give the queue another one first"); err != nil {
			return err
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

// Applications returns the part of the catalogue that a user may see, by ID, without the AppDefs. The zero User sees what is public.
func (s *Store) Applications(ctx context.Context, user berth.User) ([]berth.Application, error) {
	text, args := selectVisibleHeads, []any{user.Name, user.Team}
	if user.Admin {
		text, args = selectHeads, nil
	}
	rows, err := s.reads.query(ctx, text, args...)
	all, err := scanAll(rows, err, func(row scanner) (berth.Application, error) { return scanHead(row) })
	return all, wrap(ctx, "list applications", err)
}

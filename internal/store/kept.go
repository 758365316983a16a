package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/berth-hpc/berth"
)

const (
	keptColumns   = `number, owner, wish, detail`
	insertKept    = `INSERT INTO kept_data (` + keptColumns + `) VALUES ($1, $2, '', $3)`
	updateWish    = `UPDATE kept_data SET wish = $2 WHERE number = $1`
	updateKept    = `UPDATE kept_data SET wish = $2, detail = $3 WHERE number = $1 AND wish = 'save'`
	deleteKept    = `DELETE FROM kept_data WHERE number = $1`
	selectKept    = `SELECT ` + keptColumns + ` FROM kept_data WHERE number = $1`
	selectKeptOf  = `SELECT ` + keptColumns + ` FROM kept_data WHERE owner = $1 ORDER BY number`
	selectAllKept = `SELECT ` + keptColumns + ` FROM kept_data ORDER BY number`
)

func scanKept(row scanner) (k berth.Kept, err error) {
	err = row.Scan(&k.Number, &k.Owner, &k.Wish, &k.Detail)
	return k, err
}

// keep remembers the data of a job that could not be copied back, with its end.
func keep(b *batch, job berth.Job, ev berth.Event) error {
	if ev.Kind != berth.EventStaged || ev.Detail == "" || job.State == berth.StateTerminated {
		return nil
	}
	if _, err := b.exec(insertKept, job.Number, job.Owner, ev.Detail); err != nil {
		return fmt.Errorf("insert kept data: %w", err)
	}
	return nil
}

// Kept returns the data that was kept of a job; found is false when there is none any more.
func (s *Store) Kept(ctx context.Context, number int64) (kept berth.Kept, found bool, err error) {
	kept, err = scanKept(s.reads.queryRow(ctx, selectKept, number))
	if errors.Is(err, sql.ErrNoRows) {
		return berth.Kept{}, false, nil
	}
	return kept, err == nil, wrap(ctx, "read the kept data of a job", err)
}

// AllKept returns the data that was kept of the jobs of a user, or of everybody when owner is empty, by number.
func (s *Store) AllKept(ctx context.Context, owner string) ([]berth.Kept, error) {
	text, args := selectAllKept, []any{}
	if owner != "" {
		text, args = selectKeptOf, []any{owner}
	}
	rows, err := s.reads.query(ctx, text, args...)
	all, err := scanAll(rows, err, scanKept)
	return all, wrap(ctx, "list kept data", err)
}

// WishKept stores what is to become of kept data. NotFound when there is none any more.
func (s *Store) WishKept(ctx context.Context, number int64, wish berth.KeptWish, act berth.Act) error {
	return s.act(ctx, "wish something for kept data", act, func(b *batch) error {
		n, err := b.exec(updateWish, number, string(wish))
		if err == nil && n == 0 {
			return refuse(&berth.Error{Kind: berth.NotFound, Msg: msgNotFound})
		}
		return err
	})
}

// SetKept stores what came of the wish to save kept data: what is to become of it now, and what is still missing. It does nothing when
// somebody wishes something else by now.
func (s *Store) SetKept(ctx context.Context, kept berth.Kept) error {
	clean(&kept.Detail)
	return s.write(ctx, "change kept data", func(b *batch) error {
		_, err := b.exec(updateKept, kept.Number, string(kept.Wish), kept.Detail)
		return err
	})
}

// DeleteKept forgets kept data that was saved or dropped. Safe to repeat.
func (s *Store) DeleteKept(ctx context.Context, number int64) error {
	return s.write(ctx, "forget kept data", func(b *batch) error {
		_, err := b.exec(deleteKept, number)
		return err
	})
}

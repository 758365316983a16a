package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
)

// MigrateTo makes a database of an old version of the schema with what the statements put there.
func MigrateTo(ctx context.Context, dsn string, version int64, statements ...string) (err error) {
	d, err := connect(dsn)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	files, err := fs.Sub(migrationFiles, "migrations")
	if err != nil {
		return err
	}
	provider, err := newProvider(d, files)
	if err != nil {
		return err
	}
	if _, err := provider.UpTo(ctx, version); err != nil {
		return err
	}
	for _, text := range statements {
		if _, err := d.write.ExecContext(ctx, text); err != nil {
			return fmt.Errorf("%s: %w", text, err)
		}
	}
	return nil
}

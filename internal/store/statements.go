package store

import (
	"context"
	"database/sql"
	"fmt"
)

// statements are the prepared statements of one pool, by their text.
type statements struct {
	db       *sql.DB
	prepared map[string]*sql.Stmt
}

// prepare prepares the texts. They are closed with the pool.
func prepare(ctx context.Context, db *sql.DB, texts []string) (*statements, error) {
	s := &statements{db: db, prepared: make(map[string]*sql.Stmt, len(texts))}
	for _, text := range texts {
		stmt, err := db.PrepareContext(ctx, text) //nolint:sqlclosecheck // closed with the pool, in Store.Close
		if err != nil {
			return nil, fmt.Errorf("prepare %q: %w", text, err)
		}
		s.prepared[text] = stmt
	}
	return s, nil
}

// query runs a text, prepared or not.
func (s *statements) query(ctx context.Context, text string, args ...any) (*sql.Rows, error) {
	if stmt, ok := s.prepared[text]; ok {
		return stmt.QueryContext(ctx, args...)
	}
	return s.db.QueryContext(ctx, text, args...)
}

// queryRow runs a text, prepared or not.
func (s *statements) queryRow(ctx context.Context, text string, args ...any) *sql.Row {
	if stmt, ok := s.prepared[text]; ok {
		return stmt.QueryRowContext(ctx, args...)
	}
	return s.db.QueryRowContext(ctx, text, args...)
}

// writeStatements are what the submission and the life of a job need, thousands of times a second.
func writeStatements() []string {
	return []string{
		addTotals, insertJob, insertRecord, insertSecret, deleteSecret, insertKey, selectKey,
		selectJobByNumber, updateJob, selectOpen, insertRun, deleteRunOf, insertAPIKey, deleteToken, insertOutput,
	}
}

func readStatements() []string {
	return []string{
		selectJobByNumber, selectJobByName, selectUserByKey, selectUserByKeyID, selectMachines, selectVault, selectKey, selectSecret,
		selectEvents, countAhead, selectRun, selectApplication, selectVariables, selectOutput, selectDefaultVault,
		selectSSHKeys,
	}
}

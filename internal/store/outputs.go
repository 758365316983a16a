package store

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-hpc/berth"
)

// OutputForm says what has become of the output of a job that has ended.
type OutputForm string

// The forms.
const (
	OutputPlain      OutputForm = "plain"
	OutputCompressed OutputForm = "compressed"
	OutputDeleted    OutputForm = "deleted"
)

// Output is what is known of the output of a job that has ended.
type Output struct {
	Number int64
	Ended  time.Time
	Form   OutputForm
	// Size is what it has on disk, in bytes; 0 for one as it was written, which nobody has measured.
	Size int64
	// Changed is when it got its form.
	Changed time.Time
}

const (
	outputColumns = `number, ended_at, form, size, changed_at`
	insertOutput  = `INSERT INTO outputs (` + outputColumns + `) VALUES ($1, $2, 'plain', 0, $2)`
	updateOutput  = `UPDATE outputs SET form = $2, size = $3, changed_at = $4 WHERE number = $1`
	selectOutput  = `SELECT ` + outputColumns + ` FROM outputs WHERE number = $1`
	selectOutputs = `SELECT ` + outputColumns + ` FROM outputs
	WHERE form = $1 AND (ended_at, number) > ($2, $3) AND ended_at < $4 ORDER BY ended_at, number LIMIT $5`
	sumOutputs = `SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM outputs WHERE form = 'compressed'`
)

func scanOutput(row scanner) (o Output, err error) {
	var ended, changed int64
	err = row.Scan(&o.Number, &ended, &o.Form, &o.Size, &changed)
	o.Ended, o.Changed = fromMicro(ended), fromMicro(changed)
	return o, err
}

// endOutput notes that a job has an output that nobody writes to any more. One that was never placed has none.
func endOutput(b *batch, job berth.Job) error {
	if job.Attempt == "" {
		return nil
	}
	if _, err := b.exec(insertOutput, job.Number, micro(job.Ended)); err != nil {
		return fmt.Errorf("insert output: %w", err)
	}
	return nil
}

// Output returns what is known of the output of a job. NotFound for one that has not ended, or was never placed.
func (s *Store) Output(ctx context.Context, number int64) (Output, error) {
	output, err := scanOutput(s.reads.queryRow(ctx, selectOutput, number))
	return output, wrap(ctx, "read what is known of an output", err)
}

// Outputs lists outputs of a form of jobs that have ended before a time, the oldest first, behind one that a listing before ended with.
func (s *Store) Outputs(ctx context.Context, form OutputForm, after Output, before time.Time, limit int) ([]Output, error) {
	rows, err := s.reads.query(ctx, selectOutputs, string(form), micro(after.Ended), after.Number, micro(before), limit)
	outputs, err := scanAll(rows, err, scanOutput)
	return outputs, wrap(ctx, "list outputs", err)
}

// OutputBytes returns what all compressed outputs have on disk.
func (s *Store) OutputBytes(ctx context.Context) (size int64, err error) {
	err = s.reads.queryRow(ctx, sumOutputs).Scan(&size)
	return size, wrap(ctx, "add up outputs", err)
}

// SetOutput stores the form, the size and the time of an output.
func (s *Store) SetOutput(ctx context.Context, output Output) error {
	return s.write(ctx, "change what is known of an output", func(b *batch) error {
		_, err := b.exec(updateOutput, output.Number, string(output.Form), output.Size, micro(output.Changed))
		return err
	})
}

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
	insertJob = `INSERT INTO jobs (number, name, version, owner, team, payer, state, wait, wait_detail, application, command, label,
	submission, image, machine, vault, grace, need_cores, need_ram, need_gpus, need_slots, price, submitted_at)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)
	ON CONFLICT (name) DO NOTHING`
	selectOpen = `SELECT number FROM jobs WHERE owner = $1
	AND (state = 'queued' OR state = 'starting' OR state = 'running' OR state = 'stopping' OR state = 'staging-out')
	AND machine = $2 LIMIT 1`
	insertSecret      = `INSERT INTO pull_secrets (number, secret) VALUES ($1, $2)`
	selectSecret      = `SELECT secret FROM pull_secrets WHERE number = $1`
	selectJobByNumber = `SELECT ` + jobColumns + ` FROM jobs WHERE number = $1`
	selectJobByName   = `SELECT ` + jobColumns + ` FROM jobs WHERE name = $1`
)

// NewJob is a job to be stored.
type NewJob struct {
	// Job is the job without Number and Version, which the store gives, and without State: it is queued.
	Job berth.Job
	// From is the network address that the submission came from; may be empty.
	From string
	// Personal refuses the job when the owner has one on the same machine type that has not ended.
	Personal bool
	// PullSecret is kept beside the job until it ends; empty is none.
	PullSecret string
	// VaultPassword is that of an encrypted vault, sealed by who keeps it here. It stays beside the job until that has started or ended;
	// empty is none.
	VaultPassword string
	// Run is what the job of an application runs, kept beside the job until it ends; nil for a batch job. Then Job.Submission.App is
	// set.
	Run *berth.Run
	// Token is an API key of the job's own, kept until it ends.
	Token       NewToken
	Idempotency Idempotency
}

// NewToken is an API key that a new job gets; the zero value is none.
type NewToken struct {
	// Key is the owner's and the job's, whatever it says.
	Key  berth.Key
	Hash string
}

// CreateJob stores a queued job under the next number, with its first event, and returns it. A job with the same owner,
// idempotency key and hash is returned instead when there is one, and created is false then; the same key with another hash is a
// Conflict. A name that is taken is a Conflict that wraps ErrNameTaken; a second job of a personal machine type is LimitReached.
// Payer must be set. Texts must be UTF-8; other bytes are replaced.
func (s *Store) CreateJob(ctx context.Context, newJob NewJob) (job berth.Job, created bool, err error) {
	insert, err := newInsertion(newJob)
	if err != nil {
		return berth.Job{}, false, err
	}
	err = s.write(ctx, "create a job", func(b *batch) (err error) {
		job, created, err = insert.run(b)
		return err
	})
	if err != nil {
		return berth.Job{}, false, err
	}
	return job, created, nil
}

// insertion is a new job as it goes into the database. What can be computed before the transaction is.
type insertion struct {
	job         berth.Job
	entry       entry
	submission  string
	personal    bool
	secret      string
	password    string
	runText     string
	token       NewToken
	idempotency Idempotency
}

func newInsertion(newJob NewJob) (*insertion, error) {
	job := newJob.Job
	job.State, job.Version = berth.StateQueued, 1
	job.Submitted, job.Grace = stored(job.Submitted), job.Grace.Truncate(time.Microsecond)
	for _, text := range []*string{
		&job.Name, &job.Owner, &job.Team, &job.Payer, &job.WaitDetail, &job.Application, &job.Command, &job.Image,
		&job.Submission.Label, &job.Submission.Machine.Type, &job.Submission.Vault.Name,
	} {
		clean(text)
	}
	submission, err := json.Marshal(job.Submission)
	if err != nil {
		return nil, fmt.Errorf("submission: %w", err)
	}
	entry, err := eventEntry(berth.Event{Kind: berth.EventSubmitted, At: job.Submitted, By: job.Owner, From: newJob.From})
	if err != nil {
		return nil, err
	}
	i := &insertion{
		job: job, entry: entry, submission: string(submission), personal: newJob.Personal,
		secret: newJob.PullSecret, password: newJob.VaultPassword, token: newJob.Token, idempotency: newJob.Idempotency,
	}
	clean(&i.submission) // parameters of applications are kept as they came
	if newJob.Run != nil {
		i.runText, err = encodeRun(job, newJob.Run)
	}
	return i, err
}

// run is the part of CreateJob within the transaction.
func (i *insertion) run(b *batch) (berth.Job, bool, error) {
	if i.idempotency.Key != "" {
		first, found, err := jobByKey(b.queryRow, i.job.Owner, i.idempotency)
		if err != nil || found {
			return first, false, err
		}
	}
	number, id, err := b.next("", i.job.State)
	if err != nil {
		return berth.Job{}, false, err
	}
	job := i.job
	job.Number = number
	if err := i.insert(b, job); err != nil {
		b.giveBack("", i.job.State)
		return berth.Job{}, false, err
	}
	record, err := i.entry.of(job).insert(b, id)
	if err != nil {
		return berth.Job{}, false, err
	}
	if err := i.insertRest(b, job); err != nil {
		return berth.Job{}, false, err
	}
	b.changes = append(b.changes, change{job, record})
	return job, true, nil
}

// insert stores the row of the job, or refuses.
func (i *insertion) insert(b *batch, job berth.Job) error {
	if i.personal {
		if err := oneActiveJob(b, job); err != nil {
			return err
		}
	}
	n, err := b.exec(insertJob, job.Number, job.Name, job.Version, job.Owner, job.Team, job.Payer, string(job.State), string(job.Wait),
		job.WaitDetail, job.Application, job.Command, job.Label(), i.submission, job.Image, job.Submission.Machine.Type,
		jobVault(berth.SplitVaultName(job.Submission.Vault.Name, job.Owner)), job.Grace.Microseconds(),
		job.Need.Cores, job.Need.RAM, job.Need.GPUs, job.Need.Slots, job.Price, micro(job.Submitted))
	switch {
	case err != nil:
		return fmt.Errorf("insert: %w", err)
	case n == 0:
		return refuse(&berth.Error{Kind: berth.Conflict, Msg: msgConflict, Err: ErrNameTaken})
	}
	return nil
}

// oneActiveJob refuses when the owner has a job on the machine type that has not ended.
func oneActiveJob(b *batch, job berth.Job) error {
	var number int64
	err := b.queryRow(selectOpen, job.Owner, job.Submission.Machine.Type).Scan(&number)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return fmt.Errorf("active jobs: %w", err)
	}
	return refuse(&berth.Error{Kind: berth.LimitReached, Msg: msgOneActiveJob})
}

// insertRest stores what belongs to a new job and is neither in its row nor in the log.
func (i *insertion) insertRest(b *batch, job berth.Job) error {
	if i.secret != "" {
		if _, err := b.exec(insertSecret, job.Number, i.secret); err != nil {
			return fmt.Errorf("insert pull secret: %w", err)
		}
	}
	if i.idempotency.Key != "" {
		if _, err := b.exec(insertKey, job.Owner, i.idempotency.Key, i.idempotency.Hash, job.Number, micro(job.Submitted)); err != nil {
			return fmt.Errorf("insert idempotency key: %w", err)
		}
	}
	if i.password != "" {
		if _, err := b.exec(insertVaultPassword, job.Number, i.password); err != nil {
			return fmt.Errorf("insert the password of a vault: %w", err)
		}
	}
	return i.insertRun(b, job)
}

// Job returns a job, or NotFound when there is definitely no job of that number.
func (s *Store) Job(ctx context.Context, number int64) (berth.Job, error) {
	job, err := scanJob(s.reads.queryRow(ctx, selectJobByNumber, number))
	return job, wrap(ctx, "read a job", err)
}

// JobByName returns a job, or NotFound when there is definitely no job of that name.
func (s *Store) JobByName(ctx context.Context, name string) (berth.Job, error) {
	clean(&name)
	job, err := scanJob(s.reads.queryRow(ctx, selectJobByName, name))
	return job, wrap(ctx, "read a job", err)
}

// PullSecret returns the pull secret of a job. It is empty when there was none and after the job's end.
func (s *Store) PullSecret(ctx context.Context, number int64) (string, error) {
	var secret string
	err := s.reads.queryRow(ctx, selectSecret, number).Scan(&secret)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return secret, wrap(ctx, "read a pull secret", err)
}

// CountByState returns how many jobs are in each state, also those in which there is none. It costs the same whatever the
// number of jobs.
func (s *Store) CountByState(ctx context.Context) (map[berth.State]int, error) {
	states := berth.States()
	counts := make([]int, len(states))
	dest := make([]any, len(states))
	for i := range counts {
		dest[i] = &counts[i]
	}
	if err := s.reads.queryRow(ctx, selectTotals).Scan(dest...); err != nil {
		return nil, wrap(ctx, "count jobs", err)
	}
	byState := make(map[berth.State]int, len(states))
	for i, state := range states {
		byState[state] = counts[i]
	}
	return byState, nil
}

package control

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// readAll reads and closes what was opened.
func readAll(r io.ReadCloser, err error) (string, error) {
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(r)
	return string(text), errors.Join(err, r.Close())
}

// unread is a store whose jobs cannot be read any more.
type unread struct {
	Store
	broken atomic.Bool
}

func (u *unread) Job(ctx context.Context, number int64) (berth.Job, error) {
	if u.broken.Load() {
		return berth.Job{}, errUnread
	}
	return u.Store.Job(ctx, number)
}

var errUnread = errors.New("the database does not answer")

// writing submits a job that runs and has written a line.
func (b *bench) writing(t *testing.T) berth.Job {
	t.Helper()
	job := b.submit(t)
	b.apply(t, job.Number, berth.EventPlaced, berth.EventStarted)
	b.write(t, job.Number, "one\n")
	return job
}

// follow opens the output of such a job and reads the line.
func (b *bench) follow(ctx context.Context, t *testing.T, job berth.Job) io.ReadCloser {
	t.Helper()
	r, err := b.OpenOutput(ctx, b.ada, JobRef{Number: job.Number}, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	if _, err := io.ReadFull(r, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestFollowBreaksWhenTheEndIsNotKnown: a whole answer would say that the job has ended.
func TestFollowBreaksWhenTheEndIsNotKnown(t *testing.T) {
	u := &unread{}
	b := newBench(t, func(c *Config) { u.Store, c.Store = c.Store, u })
	job := b.writing(t)
	r := b.follow(t.Context(), t, job)
	u.broken.Store(true)
	b.apply(t, job.Number, berth.EventStopRequested)
	if text, err := io.ReadAll(r); !errors.Is(err, errUnread) {
		t.Errorf("read %q, %v; want the error of the store", text, err)
	}
}

func (b *bench) isWatched(about topic) bool {
	b.cfg.Changes.mu.Lock()
	defer b.cfg.Changes.mu.Unlock()
	return len(b.cfg.Changes.watches[about]) > 0
}

// TestFollowBreaks when the server ends it, and when the caller may not see more.
func TestFollowBreaks(t *testing.T) {
	why := errors.New("the server stops")
	for name, test := range map[string]struct {
		end  func(b *bench, cancel context.CancelCauseFunc)
		want error
	}{
		"server stops": {func(_ *bench, cancel context.CancelCauseFunc) { cancel(why) }, why},
		"rights changed": {func(b *bench, _ context.CancelCauseFunc) {
			// In the store too: the follower may not watch yet.
			if err := b.RevokeKey(t.Context(), b.admin, "ada", "ada"); err != nil {
				t.Error(err)
			}
		}, errRevoked},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			r := b.follow(ctx, t, b.writing(t))
			for !b.isWatched(topic{rights: "ada"}) { // as soon as the job is waited for
				runtime.Gosched()
			}
			test.end(b, cancel)
			if text, err := io.ReadAll(r); !errors.Is(err, test.want) {
				t.Errorf("read %q, %v; want %v", text, err, test.want)
			}
		})
	}
}

// TestFollowLeavesNobodyBehind: what waits for the job's end is gone after Close.
func TestFollowLeavesNobodyBehind(t *testing.T) {
	b := newBench(t)
	r := b.follow(t.Context(), t, b.writing(t))
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	b.cfg.Changes.mu.Lock()
	defer b.cfg.Changes.mu.Unlock()
	if n := len(b.cfg.Changes.watches); n != 0 {
		t.Errorf("%d topics are still watched", n)
	}
}

// TestADeletedOutputIsNotAnEmptyOne: whoever asks for it is told, also between the deletion of its files and the record of that.
func TestADeletedOutputIsNotAnEmptyOne(t *testing.T) {
	b := newBench(t)
	job := b.writing(t)
	b.apply(t, job.Number, berth.EventEnded)
	if err := b.files.Delete(job.Number); err != nil {
		t.Fatal(err)
	}
	b.assertNoOutput(t, job, "it is not on this server any more")
	deleted := store.Output{Number: job.Number, Form: store.OutputDeleted, Changed: time.Unix(1, 0).UTC()}
	if err := b.store.SetOutput(t.Context(), deleted); err != nil {
		t.Fatal(err)
	}
	b.assertNoOutput(t, job, "it was deleted at 1970-01-01T00:00:01Z")
}

func (b *bench) assertNoOutput(t *testing.T, job berth.Job, why string) {
	t.Helper()
	_, errWhole := b.Output(t.Context(), b.ada, JobRef{Number: job.Number}, 0)
	_, errPart := b.OpenOutput(t.Context(), b.ada, JobRef{Number: job.Number}, 7, true)
	for _, err := range []error{errWhole, errPart} {
		want := "The output of the job is not kept any longer: " + why
		if berth.KindOf(err) != berth.NotFound || err.Error() != want {
			t.Errorf("error %v, want %q", err, want)
		}
	}
}

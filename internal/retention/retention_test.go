package retention

import (
	"context"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

func TestKeysAreKeptForADay(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	st, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + filepath.Join(t.TempDir(), "berth.db"), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	now := time.Now()
	for name, age := range map[string]time.Duration{"old": 25 * time.Hour, "young": 23 * time.Hour} {
		_, _, err := st.CreateJob(t.Context(), store.NewJob{
			Job:         berth.Job{Name: name, Owner: "ada", Payer: "ada", Submitted: now.Add(-age)},
			Idempotency: store.Idempotency{Key: name, Hash: "hash"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	cleaner := New(Config{Store: st, Now: func() time.Time { return now }, Every: time.Hour, Log: log})
	if err := cleaner.runOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"old": false, "young": true} {
		_, found, err := st.JobByIdempotencyKey(t.Context(), "ada", store.Idempotency{Key: name, Hash: "hash"})
		if err != nil || found != want {
			t.Errorf("key of the %s job: found %v, %v; want %v", name, found, err, want)
		}
	}
}

// broken is a store that fails, and tells when it is asked.
type broken struct{ asked chan struct{} }

func (b broken) DeleteIdempotencyKeys(context.Context, time.Time) (int, error) {
	b.asked <- struct{}{}
	return 0, context.DeadlineExceeded
}

func TestRunGoesOnAfterAFailure(t *testing.T) {
	b := broken{asked: make(chan struct{})}
	cleaner := New(Config{Store: b, Now: time.Now, Every: time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- cleaner.Run(ctx) }()
	<-b.asked
	<-b.asked
	cancel()
	for {
		select {
		case <-b.asked:
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		}
	}
}

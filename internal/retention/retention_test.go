package retention

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/output"
	"github.com/berth-hpc/berth/internal/store"
)

// bench is a cleaner on the real store and files.
type bench struct {
	*Cleaner
	store *store.Store
	files *output.Files
	now   time.Time
}

func newBench(t *testing.T, change func(*Config)) *bench {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	st, err := store.Open(t.Context(), store.Config{DSN: "sqlite:" + filepath.Join(t.TempDir(), "berth.db"), Log: log})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	b := &bench{store: st, files: output.New(t.TempDir(), log), now: time.Now()}
	cfg := Config{
		Store: st, Files: b.files, ForgetUploads: func(context.Context, time.Time) error { return nil },
		Now: func() time.Time { return b.now }, Every: time.Hour, CompressAfter: time.Hour, Log: log,
	}
	if change != nil {
		change(&cfg)
	}
	b.Cleaner = New(cfg)
	return b
}

// ended makes a job that ended some time ago and wrote so many bytes.
func (b *bench) ended(t *testing.T, ago time.Duration, bytes int) int64 {
	t.Helper()
	at := b.now.Add(-ago)
	job, _, err := b.store.CreateJob(t.Context(), store.NewJob{Job: berth.Job{
		Name: fmt.Sprint(ago, bytes, time.Now().UnixNano()), Owner: "ada", Payer: "ada", Submitted: at,
		Submission: berth.Submission{Machine: berth.MachineRequest{Nodes: 1}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range []berth.Event{
		{Kind: berth.EventPlaced, At: at, Attempt: fmt.Sprintf("berth-%d-x", job.Number), Hosts: []string{"host"}},
		{Kind: berth.EventStarted, At: at},
		{Kind: berth.EventEnded, At: at, Exit: berth.Exit{Known: true, Ran: true}},
	} {
		if _, err := b.store.Apply(t.Context(), job.Number, ev); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(b.files.Dir(job.Number), 0o700); err != nil {
		t.Fatal(err)
	}
	text := make([]byte, bytes)
	for i := range text { // does not get smaller
		text[i] = byte(i * i >> 3)
	}
	if err := os.WriteFile(filepath.Join(b.files.Dir(job.Number), agentapi.OutputFile), text, 0o600); err != nil {
		t.Fatal(err)
	}
	return job.Number
}

// forms returns what has become of the outputs.
func (b *bench) forms(t *testing.T, numbers ...int64) []store.OutputForm {
	t.Helper()
	var forms []store.OutputForm
	for _, number := range numbers {
		o, err := b.store.Output(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		forms = append(forms, o.Form)
		_, errPlain := os.Stat(filepath.Join(b.files.Dir(number), agentapi.OutputFile))
		_, errDir := os.Stat(b.files.Dir(number))
		if (errPlain == nil) != (o.Form == store.OutputPlain) || (errDir == nil) != (o.Form != store.OutputDeleted) {
			t.Errorf("output of job %d is %s: %v, %v", number, o.Form, errPlain, errDir)
		}
	}
	return forms
}

func (b *bench) pass(t *testing.T) {
	t.Helper()
	for range 2 {
		if err := b.runOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOutputsAreCompressedAndDeletedByAge(t *testing.T) {
	b := newBench(t, func(cfg *Config) { cfg.KeepFor = 10 * time.Hour })
	young, old, ancient := b.ended(t, 59*time.Minute, 10), b.ended(t, 2*time.Hour, 10), b.ended(t, 11*time.Hour, 10)
	b.pass(t)
	want := []store.OutputForm{store.OutputPlain, store.OutputCompressed, store.OutputDeleted}
	if diff := cmp.Diff(want, b.forms(t, young, old, ancient)); diff != "" {
		t.Error(diff)
	}
	b.now = b.now.Add(9 * time.Hour)
	b.pass(t)
	want = []store.OutputForm{store.OutputCompressed, store.OutputDeleted, store.OutputDeleted}
	if diff := cmp.Diff(want, b.forms(t, young, old, ancient)); diff != "" {
		t.Error(diff)
	}
}

func TestTheOldestGoWhenThereAreTooMany(t *testing.T) {
	const bytes = 100_000
	b := newBench(t, func(cfg *Config) { cfg.KeepBytes = 5 * bytes / 2 })
	var numbers []int64
	for i := range 4 { // the last one is the oldest
		numbers = append(numbers, b.ended(t, time.Duration(i+2)*time.Hour, bytes))
	}
	if err := b.compress(t.Context(), b.now); err != nil {
		t.Fatal(err)
	}
	for _, number := range numbers {
		if err := b.store.SetOutput(t.Context(), store.Output{Number: number, Form: store.OutputCompressed, Size: bytes}); err != nil {
			t.Fatal(err)
		}
	}
	b.pass(t)
	want := []store.OutputForm{store.OutputCompressed, store.OutputCompressed, store.OutputDeleted, store.OutputDeleted}
	if diff := cmp.Diff(want, b.forms(t, numbers...)); diff != "" {
		t.Error(diff)
	}
	if total, err := b.store.OutputBytes(t.Context()); err != nil || total != 2*bytes {
		t.Errorf("%d bytes, %v", total, err)
	}
}

// stubborn is a file that cannot be compressed.
type stubborn struct {
	Files
	number int64
	err    error
}

func (s stubborn) Compress(number int64) (int64, error) {
	if number == s.number {
		return 0, s.err
	}
	return s.Files.Compress(number)
}

// TestOneThatFailsHoldsNobodyUp, unless the disk is full: then the others would only fail too.
func TestOneThatFailsHoldsNobodyUp(t *testing.T) {
	for name, test := range map[string]struct {
		err  error
		want []store.OutputForm
	}{
		"one that cannot be read": {errors.New("broken"), []store.OutputForm{store.OutputPlain, store.OutputCompressed}},
		"a full disk":             {fmt.Errorf("write: %w", syscall.ENOSPC), []store.OutputForm{store.OutputPlain, store.OutputPlain}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			first, second := b.ended(t, 3*time.Hour, 10), b.ended(t, 2*time.Hour, 10)
			b.cfg.Files = stubborn{b.files, first, test.err}
			if err := b.runOnce(t.Context()); errors.Is(err, syscall.ENOSPC) != errors.Is(test.err, syscall.ENOSPC) {
				t.Error(err)
			}
			if diff := cmp.Diff(test.want, b.forms(t, first, second)); diff != "" {
				t.Error(diff)
			}
			b.cfg.Files = b.files
			b.pass(t)
			if diff := cmp.Diff([]store.OutputForm{store.OutputCompressed, store.OutputCompressed}, b.forms(t, first, second)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestKeysAndUploadsAreForgotten(t *testing.T) {
	var before time.Time
	b := newBench(t, func(cfg *Config) {
		cfg.ForgetUploads = func(_ context.Context, at time.Time) error {
			before = at
			return nil
		}
	})
	for name, age := range map[string]time.Duration{"old": 25 * time.Hour, "young": 23 * time.Hour} {
		_, _, err := b.store.CreateJob(t.Context(), store.NewJob{
			Job:         berth.Job{Name: name, Owner: "ada", Payer: "ada", Submitted: b.now.Add(-age)},
			Idempotency: store.Idempotency{Key: name, Hash: "hash"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	b.pass(t)
	for name, want := range map[string]bool{"old": false, "young": true} {
		_, found, err := b.store.JobByIdempotencyKey(t.Context(), "ada", store.Idempotency{Key: name, Hash: "hash"})
		if err != nil || found != want {
			t.Errorf("key of the %s job: found %v, %v; want %v", name, found, err, want)
		}
	}
	if !before.Equal(b.now.Add(-UploadsKept)) {
		t.Errorf("uploads from before %v are forgotten", before)
	}
}

// keys is a store with so many idempotency keys.
type keys struct {
	Store
	left int
}

func (k *keys) DeleteIdempotencyKeys(_ context.Context, _ time.Time, limit int) (int, error) {
	n := min(limit, k.left)
	k.left -= n
	return n, nil
}

func TestForgetsAllKeysInPieces(t *testing.T) {
	t.Parallel()
	many := &keys{left: 2*keysAtOnce + 1}
	b := newBench(t, func(cfg *Config) { many.Store, cfg.Store = cfg.Store, many })
	if err := b.runOnce(t.Context()); err != nil || many.left != 0 {
		t.Errorf("%d keys are left, %v", many.left, err)
	}
}

// broken is a store that fails, and tells when it is asked.
type broken struct {
	Store
	asked chan struct{}
}

func (b broken) DeleteIdempotencyKeys(context.Context, time.Time, int) (int, error) {
	b.asked <- struct{}{}
	return 0, context.DeadlineExceeded
}

func TestRunGoesOnAfterAFailure(t *testing.T) {
	asked := make(chan struct{})
	b := newBench(t, func(cfg *Config) { cfg.Store, cfg.Every = broken{cfg.Store, asked}, time.Millisecond })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	<-asked
	<-asked
	cancel()
	for {
		select {
		case <-asked:
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			return
		}
	}
}

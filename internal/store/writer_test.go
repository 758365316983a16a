package store

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/berth-hpc/berth"
)

// batches runs operations so that all but the first are in one transaction: the first holds the lead until they have queued.
func batches(t *testing.T, s *Store, runs []func(*batch) error) []error {
	t.Helper()
	leads, release := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		first <- s.writes.do(t.Context(), func(*batch) error {
			close(leads)
			<-release
			return nil
		})
	}()
	<-leads
	errs := make([]error, len(runs))
	ended := make(chan struct{})
	for i, run := range runs {
		go func() {
			errs[i] = s.writes.do(t.Context(), run)
			ended <- struct{}{}
		}()
		awaitQueue(s.writes, i+1)
	}
	close(release)
	for range runs {
		<-ended
	}
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	return errs
}

// awaitQueue returns when n operations wait.
func awaitQueue(w *writer, n int) {
	for {
		w.mu.Lock()
		length := len(w.queue)
		w.mu.Unlock()
		if length == n {
			return
		}
		time.Sleep(50 * time.Microsecond) // the queue has no event of its own
	}
}

// insertOne is an operation that stores one row.
func insertOne(name string) func(*batch) error {
	return func(b *batch) error {
		_, err := b.exec(insertUser, name, "", false, false, false, "", false)
		return err
	}
}

func names(t *testing.T, s *Store) []string {
	t.Helper()
	users, err := s.Users(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, u := range users {
		names = append(names, u.Name)
	}
	return names
}

func TestBatchIsOneTransaction(t *testing.T) {
	t.Parallel()
	s := openInternal(t)
	var txs []*batch
	run := func(name string) func(*batch) error {
		return func(b *batch) error {
			txs = append(txs, b)
			return insertOne(name)(b)
		}
	}
	for _, err := range batches(t, s, []func(*batch) error{run("a"), run("b"), run("c")}) {
		if err != nil {
			t.Error(err)
		}
	}
	if len(txs) != 3 || txs[0] != txs[1] || txs[1] != txs[2] {
		t.Errorf("transactions %v, want one", txs)
	}
	if got := names(t, s); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("stored %v", got)
	}
}

func TestFailureHurtsNobodyElse(t *testing.T) {
	t.Parallel()
	s := openInternal(t)
	fault := errors.New("fault")
	errs := batches(t, s, []func(*batch) error{
		insertOne("a"),
		func(b *batch) error { return errors.Join(insertOne("half")(b), fault) },
		insertOne("b"),
		func(b *batch) error { _, err := b.exec(`INSERT INTO users (name) VALUES (NULL)`); return err },
		insertOne("c"),
	})
	for i, err := range errs {
		if failed := i == 1 || i == 3; failed != (err != nil) {
			t.Errorf("operation %d: %v", i, err)
		}
	}
	if !errors.Is(errs[1], fault) {
		t.Errorf("error %v, want that of the operation", errs[1])
	}
	if got := names(t, s); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("stored %v, want what did not fail and nothing else", got)
	}
}

func TestRefusalRollsNothingBack(t *testing.T) {
	t.Parallel()
	s := openInternal(t)
	no := &berth.StateError{Number: 1}
	runs := 0
	errs := batches(t, s, []func(*batch) error{
		func(b *batch) error { runs++; return insertOne("a")(b) },
		func(*batch) error { return refuse(no) },
	})
	if errs[0] != nil || !errors.Is(errs[1], error(no)) || runs != 1 {
		t.Errorf("errors %v, the other ran %d times", errs, runs)
	}
	if _, wrapped := errors.AsType[*refusal](errs[1]); wrapped {
		t.Error("the refusal is still wrapped")
	}
}

// TestRefusalGivesBack holds that what is refused in the middle of a transaction uses neither a number nor an ID.
func TestRefusalGivesBack(t *testing.T) {
	t.Parallel()
	s := openInternal(t)
	job := func(name string) func(*batch) error {
		return func(b *batch) error {
			insert, err := newInsertion(NewJob{Job: berth.Job{Name: name, Owner: "o", Payer: "o"}})
			if err != nil {
				return err
			}
			_, _, err = insert.run(b)
			return err
		}
	}
	act := func(err error) func(*batch) error {
		return func(b *batch) error {
			entry, encodeErr := actEntry(berth.Act{Kind: berth.ActImagePulled, By: "o"})
			return errors.Join(encodeErr, entry.with(b, func(*batch) error { return err }))
		}
	}
	no := errors.New("no")
	errs := batches(t, s, []func(*batch) error{
		act(refuse(no)), job("a"), job("a"), act(nil), act(refuse(no)), job("b"), act(refuse(no)),
	})
	for i, want := range []error{no, nil, ErrNameTaken, nil, no, nil, no} {
		if !errors.Is(errs[i], want) {
			t.Errorf("operation %d: %v, want %v", i, errs[i], want)
		}
	}
	records, err := s.Audit(t.Context(), AuditFilter{})
	if err != nil {
		t.Fatal(err)
	}
	var got [][2]int64 // ID and number of the job
	for _, record := range records {
		got = append(got, [2]int64{record.ID, record.Number})
	}
	if want := [][2]int64{{3, 2}, {2, 0}, {1, 1}}; !slices.Equal(got, want) {
		t.Errorf("the log has %v, want %v", got, want)
	}
	if last, err := s.LastRecord(t.Context()); err != nil || last != 3 {
		t.Errorf("last record %d, %v", last, err)
	}
}

func TestCanceledBeforeItsTurn(t *testing.T) {
	t.Parallel()
	s := openInternal(t)
	ctx, cancel := context.WithCancel(t.Context())
	leads, release, first := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		first <- s.writes.do(ctx, func(b *batch) error {
			close(leads)
			<-release
			return insertOne("began")(b)
		})
	}()
	<-leads
	waiting := make(chan error, 1)
	go func() { waiting <- s.writes.do(ctx, insertOne("waited")) }()
	awaitQueue(s.writes, 1)
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("who waited: %v, want Canceled at once", err)
	}
	close(release)
	if err := <-first; err != nil {
		t.Errorf("who had begun: %v, want the outcome", err)
	}
	if err := s.writes.do(ctx, insertOne("late")); !errors.Is(err, context.Canceled) {
		t.Errorf("who came later: %v", err)
	}
	if got := names(t, s); !slices.Equal(got, []string{"began"}) {
		t.Errorf("stored %v", got)
	}
}

func TestCanceledLeaderServesOthers(t *testing.T) {
	t.Parallel()
	s := openInternal(t)
	gone := &operation{run: insertOne("gone"), gone: func() error { return context.Canceled }, turn: make(chan bool, 1)}
	if lead, err := s.writes.enqueue(gone); !lead || err != nil {
		t.Fatal(lead, err)
	}
	other := make(chan error, 1)
	go func() { other <- s.writes.do(t.Context(), insertOne("other")) }()
	awaitQueue(s.writes, 2)
	s.writes.lead(t.Context())
	if err := <-other; err != nil || !errors.Is(gone.err, context.Canceled) {
		t.Errorf("other %v, leader %v", err, gone.err)
	}
	if got := names(t, s); !slices.Equal(got, []string{"other"}) {
		t.Errorf("stored %v", got)
	}
}

func TestCloseWaits(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{DSN: "sqlite:" + filepath.Join(t.TempDir(), "berth.db"), Log: openInternal(t).log})
	if err != nil {
		t.Fatal(err)
	}
	leads, release := make(chan struct{}), make(chan struct{})
	errs := make(chan error, 2)
	go func() {
		errs <- s.writes.do(t.Context(), func(b *batch) error {
			close(leads)
			<-release
			return insertOne("a")(b)
		})
	}()
	<-leads
	go func() { errs <- s.writes.do(t.Context(), insertOne("b")) }()
	awaitQueue(s.writes, 1)
	closed := make(chan error, 1)
	go func() { closed <- s.Close() }()
	for { // until Close has begun
		s.writes.mu.Lock()
		began := s.writes.closed
		s.writes.mu.Unlock()
		if began {
			break
		}
		time.Sleep(50 * time.Microsecond)
	}
	select {
	case err := <-closed:
		t.Fatalf("Close did not wait: %v", err)
	default:
	}
	close(release)
	if err := errors.Join(<-errs, <-errs, <-closed); err != nil {
		t.Error(err)
	}
}

func TestPanicInOnChange(t *testing.T) {
	t.Parallel()
	s := openInternal(t)
	s.writes.onChange = func(berth.Job, berth.Record) { panic("OnChange") }
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		_, _, _ = s.CreateJob(t.Context(), NewJob{Job: berth.Job{Name: "n", Owner: "o", Payer: "o"}})
	}()
	s.writes.onChange = nil
	if err := s.writes.do(t.Context(), insertOne("a")); err != nil {
		t.Errorf("after a panic: %v", err)
	}
	if job, err := s.Job(t.Context(), 1); err != nil || job.Name != "n" {
		t.Errorf("the job is not stored: %v", err)
	}
}

// TestCommitFailure holds that a failed COMMIT is neither repeated nor called a failure: it may have happened.
func TestCommitFailure(t *testing.T) {
	t.Parallel()
	s := openInternal(t)
	runs := 0
	op := func(b *batch) error {
		runs++
		// A constraint that is checked at the COMMIT makes it fail.
		_, err := b.exec(`CREATE TABLE IF NOT EXISTS child (name TEXT REFERENCES users (name) DEFERRABLE INITIALLY DEFERRED)`)
		if err != nil {
			return err
		}
		_, err = b.exec(`INSERT INTO child VALUES ('absent')`)
		return err
	}
	errs := batches(t, s, []func(*batch) error{op, op})
	for _, err := range errs {
		if _, atCommit := errors.AsType[*commitError](err); !atCommit {
			t.Errorf("error %v, want that of the commit", err)
		}
	}
	if runs != 2 {
		t.Errorf("%d runs, want each once", runs)
	}
	err := s.write(t.Context(), "test", op)
	if berth.KindOf(err) != berth.Unavailable || !errors.Is(err, errOutcome) {
		t.Errorf("error %v, want Unavailable and an unknown outcome", err)
	}
	if err := s.writes.do(t.Context(), insertOne("a")); err != nil {
		t.Errorf("after a failed commit: %v", err)
	}
}

func TestBatchLimit(t *testing.T) {
	t.Parallel()
	s := openInternal(t)
	runs := make([]func(*batch) error, batchLimit+10)
	sizes := map[*batch]int{}
	for i := range runs {
		runs[i] = func(b *batch) error {
			sizes[b]++
			return insertOne(strconv.Itoa(i))(b)
		}
	}
	for _, err := range batches(t, s, runs) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, n := range sizes {
		if n > batchLimit {
			t.Errorf("%d operations in a transaction", n)
		}
	}
	if got := len(names(t, s)); got != len(runs) {
		t.Errorf("%d rows, want %d", got, len(runs))
	}
}

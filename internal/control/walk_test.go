package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// endless is a store with a long log in which nothing is the caller's.
type endless struct {
	Store
	last int64
	// read gets what is read of the log, and nothing is answered before.
	read    chan [2]int64
	reading atomic.Int32
}

func (e *endless) LastRecord(context.Context) (int64, error) { return e.last, nil }

func (e *endless) Records(_ context.Context, filter store.RecordFilter) ([]berth.Record, error) {
	return nil, e.look(filter.After, filter.Until)
}

func (e *endless) Audit(_ context.Context, filter store.AuditFilter) ([]berth.Record, error) {
	return nil, e.look(filter.After, filter.Before-1)
}

func (e *endless) look(after, until int64) error {
	if e.reading.Add(1) > 1 {
		return errors.New("two look at the log at a time")
	}
	defer e.reading.Add(-1)
	e.read <- [2]int64{after, until}
	return nil
}

func newEndless(t *testing.T, last int64) (*bench, *endless) {
	t.Helper()
	e := &endless{last: last, read: make(chan [2]int64)}
	return newBench(t, func(c *Config) { e.Store, c.Store = c.Store, e }), e
}

// TestAStreamCatchesUpInPieces up to the end that the log had, also when nothing is found, and stays there.
func TestAStreamCatchesUpInPieces(t *testing.T) {
	b, e := newEndless(t, 12_345)
	stream := b.stream(t, b.bob, EventsFilter{After: 0})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- second(stream.Next(ctx)) }()
	for _, want := range [][2]int64{{0, 5000}, {5000, 10_000}, {10_000, 12_345}} {
		if got := <-e.read; got != want {
			t.Errorf("read %v, want %v", got, want)
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) || stream.Last() != e.last {
		t.Errorf("%v at %d, want to wait at %d", err, stream.Last(), e.last)
	}
}

// TestOneAtATimeWalksThroughTheLog: streams far behind and audit logs of teams; who waits for its turn can give up.
func TestOneAtATimeWalksThroughTheLog(t *testing.T) {
	b, e := newEndless(t, 7000)
	const walkers = 6
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 2*walkers)
	for range walkers {
		stream := b.stream(t, b.bob, EventsFilter{After: 0})
		go func() { ended <- second(stream.Next(ctx)) }()
		go func() { ended <- second(b.Audit(ctx, b.tess, AuditFilter{})) }()
	}
	for range 2 * 2 * walkers { // two pieces each
		<-e.read
	}
	for range walkers { // the audit logs
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	end, err := b.walk(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	cancel()
	if _, err := b.walk(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a second one: %v", err)
	}
	for range walkers {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}

// TestTheAuditLogOfATeamIsReadInPieces from the end to the beginning.
func TestTheAuditLogOfATeamIsReadInPieces(t *testing.T) {
	b, e := newEndless(t, 12_345)
	for _, test := range []struct {
		before int64
		want   string
	}{
		{0, "[[7345 12345] [2345 7345] [0 2345]]"}, {5001, "[[0 5000]]"}, {5002, "[[1 5001] [0 1]]"}, {1, "[]"}, {1 << 40, "[[7345 12345] [2345 7345] [0 2345]]"},
	} {
		ended := make(chan error, 1)
		go func() { ended <- second(b.Audit(t.Context(), b.tess, AuditFilter{Before: test.before})) }()
		got := [][2]int64{}
		for reading := true; reading; {
			select {
			case piece := <-e.read:
				got = append(got, piece)
			case err := <-ended:
				if reading = false; err != nil {
					t.Error(err)
				}
			}
		}
		if fmt.Sprint(got) != test.want {
			t.Errorf("before %d: %v, want %s", test.before, got, test.want)
		}
	}
}

// TestALongHistoryIsCut in its middle.
func TestALongHistoryIsCut(t *testing.T) {
	b := newBench(t)
	number := b.submit(t).Number
	const writers, more = 50, 21
	var writing sync.WaitGroup
	for range writers {
		writing.Go(func() {
			for range more {
				if _, err := b.store.Apply(t.Context(), number, berth.Event{Kind: berth.EventWaiting, At: time.Now()}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writing.Wait()
	const all = 1 + writers*more
	got, err := b.Explain(t.Context(), b.ada, JobRef{Number: number})
	if err != nil || len(got.Records) != FirstRecords+lastRecords || got.LeftOut != all-FirstRecords-lastRecords {
		t.Fatalf("%d records, %d left out, %v", len(got.Records), got.LeftOut, err)
	}
	versions := func(i int) int64 { return got.Records[i].Version }
	want := []int64{1, FirstRecords, all - lastRecords + 1, all}
	if diff := cmp.Diff(want, []int64{versions(0), versions(FirstRecords - 1), versions(FirstRecords), versions(FirstRecords + lastRecords - 1)}); diff != "" {
		t.Error(diff)
	}
}

// TestBlockersOfOthersAreNotNamed: neither their numbers nor when they end.
func TestBlockersOfOthersAreNotNamed(t *testing.T) {
	var numbers []int64
	b := newBench(t, func(c *Config) { c.Forecaster = blockedBy{&numbers} })
	for _, caller := range []berth.Caller{b.bob, b.ada} {
		numbers = append(numbers, b.submitBy(t, caller).Number)
	}
	ref := JobRef{Number: b.submit(t).Number}
	for who, test := range map[string]struct {
		caller berth.Caller
		want   []int64
	}{
		"owner": {b.ada, []int64{0, 0, 0, 2, 2, 2, 0}}, "administrator": {b.admin, []int64{1, 1, 1, 2, 2, 2, 0}},
	} {
		got, err := b.Explain(t.Context(), test.caller, ref)
		if err != nil {
			t.Fatal(err)
		}
		var shown []int64
		for _, blocker := range got.Forecast.Blockers {
			shown = append(shown, blocker.Number)
			if named := strings.Contains(blocker.Detail, "secret"); named != (blocker.Number != 0) {
				t.Errorf("%s: %+v", who, blocker)
			}
		}
		if diff := cmp.Diff(test.want, shown); diff != "" {
			t.Errorf("%s: %s", who, diff)
		}
	}
}

// blockedBy names jobs as the ones in the way.
type blockedBy struct{ numbers *[]int64 }

func (b blockedBy) Forecast(context.Context, berth.Job) (berth.Forecast, error) {
	var blockers []berth.Blocker
	for _, number := range *b.numbers {
		for _, kind := range []berth.BlockerKind{berth.BlockerQueue, berth.BlockerJob, berth.BlockerVault} {
			blockers = append(blockers, berth.Blocker{Kind: kind, Number: number, Detail: "a secret"})
		}
	}
	return berth.Forecast{Blockers: append(blockers, berth.Blocker{Kind: berth.BlockerResources})}, nil
}

// TestAddressesOfOthersAreNotShown in events and in streams.
func TestAddressesOfOthersAreNotShown(t *testing.T) {
	b := newBench(t)
	stream := b.stream(t, b.ada, EventsFilter{After: -1})
	ref := JobRef{Number: b.submit(t).Number}
	b.apply(t, ref.Number, berth.EventPlaced, berth.EventStarted)
	if err := b.Shutdown(t.Context(), b.admin, ref); err != nil {
		t.Fatal(err)
	}
	shown := func(records []berth.Record) []string {
		var from []string
		for _, record := range records {
			if record.Event.From != "" {
				from = append(from, record.Event.By)
			}
		}
		return from
	}
	for want, caller := range map[string]berth.Caller{"ada": b.ada, "": b.tess, "ada root": b.admin} {
		got, err := b.Explain(t.Context(), caller, ref)
		if from := strings.Join(shown(got.Records), " "); err != nil || from != want {
			t.Errorf("%s sees the addresses of %q, %v; want %q", caller.User.Name, from, err, want)
		}
	}
	var streamed []berth.Record
	for len(streamed) < 4 {
		records, err := stream.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		streamed = append(streamed, records...)
	}
	if from := shown(streamed); !slices.Equal(from, []string{"ada"}) {
		t.Errorf("the stream has the addresses of %q", from)
	}
}

// TestStreamsEndWithTheirKey, and what is waited for too.
func TestStreamsEndWithTheirKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{Service: New(Config{Store: oneRunning{}, Changes: &Changes{}})}
		ada := berth.Caller{User: berth.User{Name: "ada"}, KeyID: "ada", Expires: time.Now().Add(time.Minute)}
		began := time.Now()
		stream := b.stream(t, ada, EventsFilter{After: -1})
		_, err := stream.Next(t.Context())
		wantError(t, err, berth.Unavailable, "The account was changed or the key has ended")
		if after := time.Since(began); after != time.Minute {
			t.Errorf("the stream went on for %s", after)
		}
		ada.Expires = time.Now().Add(time.Minute)
		if _, err := b.Wait(t.Context(), ada, JobRef{Number: 1}); err != nil || time.Since(began) != 2*time.Minute {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		_, err = b.Events(t.Context(), ada, EventsFilter{})
		wantError(t, err, berth.Unavailable, "The account was changed or the key has ended")
	})
}

// oneRunning is a store with a job of ada that does not end, and a key that ends after two minutes.
type oneRunning struct{ Store }

func (oneRunning) Job(context.Context, int64) (berth.Job, error) {
	return berth.Job{Number: 1, Owner: "ada", State: berth.StateRunning}, nil
}

func (oneRunning) LastRecord(context.Context) (int64, error) { return 0, nil }

func (oneRunning) UserByKeyID(context.Context, string) (berth.User, berth.Key, error) {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of the bubble
	return berth.User{Name: "ada"}, berth.Key{Expires: start.Add(2 * time.Minute)}, nil
}

// TestAChangeBeforeTheWatchIsSeen: the caller was let in, and then lost its rights before the stream began.
func TestAChangeBeforeTheWatchIsSeen(t *testing.T) {
	yes, no, none := true, false, ""
	for name, test := range map[string]struct {
		who    func(*bench) berth.Caller
		change func(*bench) error
	}{
		"disabled": {func(b *bench) berth.Caller { return b.ada }, func(b *bench) error {
			return second(b.ChangeUser(t.Context(), b.admin, "ada", berth.UserChange{Disabled: &yes}))
		}},
		"out of the team": {func(b *bench) berth.Caller { return b.tess }, func(b *bench) error {
			return second(b.ChangeUser(t.Context(), b.admin, "tess", berth.UserChange{Team: &none}))
		}},
		"leads no more": {func(b *bench) berth.Caller { return b.tess }, func(b *bench) error {
			return second(b.ChangeUser(t.Context(), b.admin, "tess", berth.UserChange{TeamAdmin: &no}))
		}},
		"pays no more": {func(b *bench) berth.Caller { return b.paul }, func(b *bench) error {
			return b.ChangeTeam(t.Context(), b.admin, berth.Team{Name: "red", Payer: "mia"})
		}},
		"key revoked": {func(b *bench) berth.Caller { return b.ada }, func(b *bench) error {
			return b.RevokeKey(t.Context(), b.admin, "ada", "ada")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			ref, who := JobRef{Number: b.submit(t).Number}, test.who(b)
			if err := test.change(b); err != nil {
				t.Fatal(err)
			}
			_, err := b.Events(t.Context(), who, EventsFilter{Everyone: true, After: -1})
			wantError(t, err, berth.Unavailable, "The account was changed")
			if job, err := b.Wait(t.Context(), who, ref); err != nil || job.State != berth.StateQueued {
				t.Errorf("Wait: %s, %v; want the job as it is", job.State, err)
			}
			if n := len(b.cfg.Changes.watches); n != 0 {
				t.Errorf("%d topics are still watched", n)
			}
		})
	}
}

package control

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

func (b *bench) stream(t *testing.T, caller berth.Caller, filter EventsFilter) *EventStream {
	t.Helper()
	stream, err := b.Events(t.Context(), caller, filter)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stream.Close)
	return stream
}

// next returns the kinds of the next n records.
func next(t *testing.T, stream *EventStream, n int) []berth.EventKind {
	t.Helper()
	var kinds []berth.EventKind
	for len(kinds) < n {
		records, err := stream.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, record := range records {
			kinds = append(kinds, record.Event.Kind)
		}
	}
	return kinds
}

func TestEventStreamBeginsNow(t *testing.T) {
	b := newBench(t)
	b.submit(t)
	stream := b.stream(t, b.ada, EventsFilter{After: -1})
	job := b.submit(t)
	b.apply(t, job.Number, berth.EventPlaced)
	want := []berth.EventKind{berth.EventSubmitted, berth.EventPlaced}
	if diff := cmp.Diff(want, next(t, stream, 2)); diff != "" {
		t.Error(diff)
	}
	last, err := b.store.LastRecord(t.Context())
	if err != nil || stream.Last() != last {
		t.Errorf("Last() = %d; the log ends at %d, %v", stream.Last(), last, err)
	}
}

// TestEventStreamsShowWhatTheirCallersMaySee and nothing else.
func TestEventStreamsShowWhatTheirCallersMaySee(t *testing.T) {
	b := newBench(t)
	streams := map[string]*EventStream{
		"ada": b.stream(t, b.ada, EventsFilter{Everyone: true}), "tess": b.stream(t, b.tess, EventsFilter{Everyone: true}),
		"root": b.stream(t, b.admin, EventsFilter{Everyone: true}), "tess alone": b.stream(t, b.tess, EventsFilter{}),
	}
	owners := map[string]int64{}
	for _, caller := range []berth.Caller{b.ada, b.mia, b.bob, b.tess} {
		owners[caller.User.Name] = b.submitBy(t, caller).Number
	}
	for name, want := range map[string][]string{
		"ada": {"ada"}, "tess": {"ada", "mia", "tess"}, "root": {"ada", "mia", "bob", "tess"}, "tess alone": {"tess"},
	} {
		records, err := streams[name].Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got, wanted []int64
		for _, record := range records {
			got = append(got, record.Number)
		}
		for _, owner := range want {
			wanted = append(wanted, owners[owner])
		}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("%s sees:\n%s", name, diff)
		}
	}
	_, err := b.Events(t.Context(), b.bob, EventsFilter{Number: owners["ada"]})
	wantError(t, err, berth.NotFound, "Not found")
}

// TestEventStreamResumesWithoutLoss reads while others write, and connects again after most answers.
func TestEventStreamResumesWithoutLoss(t *testing.T) {
	b := newBench(t)
	const writers, events = 6, 60
	var writing sync.WaitGroup
	for i := range writers {
		number := b.submitBy(t, []berth.Caller{b.ada, b.bob}[i%2]).Number
		writing.Go(func() {
			for range events {
				if _, err := b.store.Apply(t.Context(), number, berth.Event{Kind: berth.EventWaiting, At: time.Now()}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	got := b.readResuming(t, b.ada, writers/2*(1+events))
	writing.Wait()
	records, err := b.store.Records(t.Context(), store.RecordFilter{Owner: "ada"})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(ids(records), got); diff != "" {
		t.Errorf("ids (-stored +read):\n%s", diff)
	}
}

// readResuming reads n records with several streams, each of which goes on where the one before it ended.
func (b *bench) readResuming(t *testing.T, caller berth.Caller, n int) []int64 {
	t.Helper()
	var got []int64
	stream := b.stream(t, caller, EventsFilter{})
	for len(got) < n {
		records, err := stream.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, ids(records)...)
		if rand.IntN(3) > 0 {
			last := stream.Last()
			stream.Close()
			stream = b.stream(t, caller, EventsFilter{After: last})
		}
	}
	return got
}

func ids(records []berth.Record) []int64 {
	var all []int64
	for _, record := range records {
		all = append(all, record.ID)
	}
	return all
}

// counted is a store that counts how often the log is read.
type counted struct {
	Store
	reads atomic.Int32
	after atomic.Int64
}

func (c *counted) Records(ctx context.Context, filter store.RecordFilter) ([]berth.Record, error) {
	c.reads.Add(1)
	c.after.Store(filter.After)
	return c.Store.Records(ctx, filter)
}

// TestAnIdleStreamReadsNothing while things happen to others' jobs, and then not what happened to them.
func TestAnIdleStreamReadsNothing(t *testing.T) {
	reads := &counted{}
	b := newBench(t, func(c *Config) { reads.Store, c.Store = c.Store, reads })
	stream := b.stream(t, b.ada, EventsFilter{After: -1})
	b.submit(t)
	next(t, stream, 1)
	before := reads.reads.Load()
	ctx, cancel := context.WithCancel(t.Context())
	waited := make(chan error, 1)
	go func() { waited <- second(stream.Next(ctx)) }()
	for range 20 {
		b.submitBy(t, b.bob)
	}
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("Next = %v, want the error of its context", err)
	}
	last, err := b.store.LastRecord(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.submit(t)
	next(t, stream, 1)
	if n := reads.reads.Load() - before; n != 1 || reads.after.Load() != last {
		t.Errorf("%d readings, the last one behind %d; want one behind %d", n, reads.after.Load(), last)
	}
}

// TestWhatNobodyToldOfIsRead with the next that somebody does.
func TestWhatNobodyToldOfIsRead(t *testing.T) {
	b := newBench(t)
	stream := b.stream(t, b.ada, EventsFilter{After: -1})
	b.deaf.Store(true)
	job := b.submit(t)
	b.deaf.Store(false)
	b.submitBy(t, b.bob)
	b.apply(t, job.Number, berth.EventPlaced)
	want := []berth.EventKind{berth.EventSubmitted, berth.EventPlaced}
	if diff := cmp.Diff(want, next(t, stream, 2)); diff != "" {
		t.Error(diff)
	}
}

// TestAPositionOfAnotherDatabase begins now.
func TestAPositionOfAnotherDatabase(t *testing.T) {
	b := newBench(t)
	stream := b.stream(t, b.ada, EventsFilter{After: 1 << 40})
	b.submit(t)
	if diff := cmp.Diff([]berth.EventKind{berth.EventSubmitted}, next(t, stream, 1)); diff != "" {
		t.Error(diff)
	}
}

// TestStreamsEndWithTheRights of their caller; those of others go on.
func TestStreamsEndWithTheRights(t *testing.T) {
	b := newBench(t)
	job := b.submit(t)
	events := b.stream(t, b.ada, EventsFilter{After: -1})
	follow, err := b.OpenOutput(t.Context(), b.ada, JobRef{Number: job.Number}, 0, true)
	if err != nil {
		t.Fatal(err)
	}
	defer follow.Close()
	waited, read := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := b.Wait(t.Context(), b.ada, JobRef{Number: job.Number})
		waited <- err
	}()
	go func() { read <- second(follow.Read(make([]byte, 1))) }()
	for b.waiting("ada") < 3 { // all three are there
		time.Sleep(time.Millisecond)
	}
	yes := true
	if _, err := b.ChangeUser(t.Context(), b.admin, "ada", berth.UserChange{Disabled: &yes}); err != nil {
		t.Fatal(err)
	}
	_, err = events.Next(t.Context())
	wantError(t, err, berth.Unavailable, "The account was changed")
	if err := <-waited; err != nil {
		t.Errorf("Wait = %v, want the job as it is", err)
	}
	if err := <-read; err == nil {
		t.Error("an output is followed on")
	}
}

// waiting is how much a user waits for.
func (b *bench) waiting(user string) int {
	b.cfg.Changes.mu.Lock()
	defer b.cfg.Changes.mu.Unlock()
	return len(b.cfg.Changes.watches[topic{rights: user}])
}

func TestClosedStreamsAreForgotten(t *testing.T) {
	b := newBench(t)
	for _, filter := range []EventsFilter{{}, {Everyone: true}, {Number: b.submit(t).Number}} {
		stream, err := b.Events(t.Context(), b.tess, filter)
		if err != nil {
			t.Fatal(err)
		}
		stream.Close()
		stream.Close()
	}
	if n := len(b.cfg.Changes.watches); n != 0 {
		t.Errorf("%d topics are remembered", n)
	}
}

func TestExplain(t *testing.T) {
	b := newBench(t)
	ref := JobRef{Number: b.submit(t).Number}
	got, err := b.Explain(t.Context(), b.ada, ref)
	if err != nil || len(got.Records) != 1 || got.Forecast == nil || got.Forecast.Position != 1 {
		t.Errorf("a queued job: %+v, %v", got, err)
	}
	b.apply(t, ref.Number, berth.EventPlaced, berth.EventStarted, berth.EventEnded)
	got, err = b.Explain(t.Context(), b.ada, ref)
	if err != nil || len(got.Records) != 4 || got.Forecast != nil || got.Records[3].State != berth.StateCompleted {
		t.Errorf("an ended job: %+v, %v", got, err)
	}
}

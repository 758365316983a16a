package store_test

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// TestLogIsInTheOrderOfCommits has two servers write whatever there is to write while somebody follows the log: no ID is missing,
// none comes late, and OnChange keeps the order.
func TestLogIsInTheOrderOfCommits(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		var stores []*store.Store
		for range 2 {
			var last atomic.Int64
			stores = append(stores, open(t, store.Config{DSN: dsn, OnChange: func(_ berth.Job, record berth.Record) {
				if before := last.Swap(record.ID); before >= record.ID {
					t.Errorf("OnChange was told %d after %d", record.ID, before)
				}
			}}))
		}
		create(t, stores[0], newJob("alice", "shared"))
		createUser(t, stores[0], berth.User{Name: "alice"})

		written, followed := make(chan struct{}), make(chan []int64, 1)
		go func() { followed <- follow(t, stores[1], written) }()
		err := concurrently(8, func(caller int) error {
			for i := range 12 {
				if err := writeSomething(t, stores[caller%2], fmt.Sprintf("%d-%d", caller, i), i); err != nil {
					return err
				}
			}
			return nil
		})
		close(written)
		ids := <-followed
		if err != nil {
			t.Fatal(err)
		}
		checkLog(t, stores[0], ids)
	})
}

// writeSomething does one of several things, some of which are refused.
func writeSomething(t *testing.T, s *store.Store, unique string, i int) error {
	var err error
	switch i % 6 {
	case 0:
		_, _, err = s.CreateJob(t.Context(), newJob("alice", unique))
		return err
	case 1, 2:
		_, err = s.Apply(t.Context(), 1, berth.Event{Kind: berth.EventWaiting, At: submitted, Wait: berth.WaitResources, Detail: unique})
		return err
	case 3:
		return s.Record(t.Context(), acted(berth.ActImagePulled, unique))
	case 4:
		_, _, err = s.CreateJob(t.Context(), newJob("alice", "shared"))
	default: // a unique index refuses it, which undoes the whole transaction
		err = s.AddKey(t.Context(), keyOf("alice", "new-"+unique), "hash-alice", acted(berth.ActKeyAdded, "alice"))
	}
	if berth.KindOf(err) != berth.Conflict {
		return fmt.Errorf("%w, want Conflict", err)
	}
	return nil
}

// follow reads the log in small pieces until all is written and read, and returns the IDs in the order of the reading.
func follow(t *testing.T, s *store.Store, written <-chan struct{}) []int64 {
	var ids []int64
	var last int64
	for {
		more := true
		select {
		case <-written: // asked before reading: then all of it is there
			more = false
		default:
		}
		records, err := s.Records(t.Context(), store.RecordFilter{After: last, Limit: 5})
		if err != nil {
			t.Error(err)
			return nil
		}
		for _, record := range records {
			ids = append(ids, record.ID)
			last = record.ID
		}
		if !more && len(records) == 0 {
			return ids
		}
	}
}

// checkLog holds that the log has every ID once, and that who followed it has seen all of jobs.
func checkLog(t *testing.T, s *store.Store, followed []int64) {
	t.Helper()
	records, err := s.Records(t.Context(), store.RecordFilter{})
	if err != nil {
		t.Fatal(err)
	}
	ids := idsOf(records)
	if diff := cmp.Diff(ids, followed); diff != "" {
		t.Errorf("(-stored +followed):\n%s", diff)
	}
	acts, err := s.Audit(t.Context(), store.AuditFilter{})
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range acts {
		if record.Number == 0 {
			ids = append(ids, record.ID)
		}
	}
	slices.Sort(ids)
	for i, id := range ids {
		if id != int64(i+1) {
			t.Fatalf("the IDs have gaps: %v", ids)
		}
	}
	if last := lastRecord(t, s); last != int64(len(ids)) {
		t.Errorf("last record %d of %d", last, len(ids))
	}
}

func idsOf(records []berth.Record) []int64 {
	ids := make([]int64, 0, len(records))
	for _, record := range records {
		ids = append(ids, record.ID)
	}
	return ids
}

func TestRecordsOfTeam(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		for i, who := range []struct{ owner, team string }{{"alice", "red"}, {"bob", "red"}, {"bob", ""}, {"carol", "blue"}} {
			job := newJob(who.owner, fmt.Sprintf("A%04d", i))
			job.Job.Team = who.team
			create(t, s, job)
		}
		for what, test := range map[string]struct {
			filter store.RecordFilter
			want   []int64
		}{
			"everything":     {store.RecordFilter{}, []int64{1, 2, 3, 4}},
			"owner":          {store.RecordFilter{Owner: "bob"}, []int64{2, 3}},
			"team":           {store.RecordFilter{Team: "red"}, []int64{1, 2}},
			"either":         {store.RecordFilter{Owner: "bob", Team: "red"}, []int64{1, 2, 3}},
			"either, page":   {store.RecordFilter{Owner: "bob", Team: "red", After: 1, Limit: 1}, []int64{2}},
			"one job":        {store.RecordFilter{Number: 4, Owner: "alice"}, []int64{4}},
			"one job, after": {store.RecordFilter{Number: 4, After: 4}, []int64{}},
		} {
			records, err := s.Records(t.Context(), test.filter)
			if got := idsOf(records); err != nil || !slices.Equal(got, test.want) {
				t.Errorf("%s: %v, %v; want %v", what, got, err, test.want)
			}
		}
	})
}

// TestAuditOfATeam has what was done to its jobs, to itself and to its members, by whomever, and nothing that they did elsewhere.
func TestAuditOfATeam(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"})
		createUser(t, s, berth.User{Name: "bob"})
		createTeam(t, s, "red", "alice")
		createTeam(t, s, "blue", "bob")
		for i, team := range []string{"red", "blue", ""} {
			job := newJob("alice", fmt.Sprintf("A%04d", i))
			job.Job.Team = team
			number := create(t, s, job).Number
			apply(t, s, number, berth.Event{Kind: berth.EventTerminateRequested, At: submitted, By: "bob"})
		}
		for _, act := range []berth.Act{
			acted(berth.ActMachineSet, "alice"), acted(berth.ActUserChanged, "red"), acted(berth.ActTeamChanged, "red"),
			{Kind: berth.ActImagePulled, At: submitted, By: "alice", Subject: "image", Detail: `"Subject":"alice"`},
		} {
			if err := s.Record(t.Context(), act); err != nil {
				t.Fatal(err)
			}
		}
		for what, test := range map[string]struct {
			filter store.AuditFilter
			want   []int64
		}{
			"all":                   {store.AuditFilter{Team: "red"}, []int64{13, 6, 5, 3, 1}},
			"piece":                 {store.AuditFilter{Team: "red", Before: 13, After: 3}, []int64{6, 5}},
			"page":                  {store.AuditFilter{Team: "red", Limit: 2}, []int64{13, 6}},
			"by a stranger":         {store.AuditFilter{Team: "red", By: "bob"}, []int64{6}},
			"by the payer":          {store.AuditFilter{Team: "red", By: "alice"}, []int64{5}},
			"of a member":           {store.AuditFilter{Team: "red", Subject: "alice"}, []int64{1}},
			"of a stranger":         {store.AuditFilter{Team: "red", Subject: "bob"}, []int64{}},
			"of the team":           {store.AuditFilter{Team: "red", Subject: "red"}, []int64{13, 3}},
			"of a team that is not": {store.AuditFilter{Team: "green"}, []int64{}},
		} {
			records, err := s.Audit(t.Context(), test.filter)
			if got := idsOf(records); err != nil || !slices.Equal(got, test.want) {
				t.Errorf("%s: %v, %v; want %v", what, got, err, test.want)
			}
		}
	})
}

// TestActs holds what is stored of an act, and that there is none of nobody.
func TestActs(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		changed := 0
		s := open(t, store.Config{DSN: dsn, OnChange: func(berth.Job, berth.Record) { changed++ }})
		odd := berth.Act{Kind: berth.ActImageRemoved, At: submitted, By: "a\x00", From: "f\xff", Subject: "s\x00", Detail: "d\xff"}
		if err := s.Record(t.Context(), odd); err != nil {
			t.Fatal(err)
		}
		if err := s.Record(t.Context(), berth.Act{Kind: berth.ActImageRemoved, At: submitted}); err == nil {
			t.Error("an act of nobody was stored")
		}
		at := submitted.Truncate(time.Microsecond)
		want := []berth.Record{{
			ID: 1, Event: berth.Event{At: at, By: "a\uFFFD", From: "f\uFFFD"},
			Act: berth.Act{Kind: berth.ActImageRemoved, At: at, By: "a\uFFFD", From: "f\uFFFD", Subject: "s\uFFFD", Detail: "d\uFFFD"},
		}}
		for what, filter := range map[string]store.AuditFilter{
			"everything": {}, "by": {By: "a\x00"}, "subject": {Subject: "s\x00"}, "since": {Since: at},
		} {
			records, err := s.Audit(t.Context(), filter)
			if diff := cmp.Diff(want, records); diff != "" || err != nil {
				t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
			}
		}
		if changed > 0 {
			t.Error("OnChange is for jobs only")
		}
	})
}

func TestPersonal(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		stores := []*store.Store{open(t, store.Config{DSN: dsn}), open(t, store.Config{DSN: dsn})}
		personal := func(owner, unique string) store.NewJob {
			job := newJob(owner, unique)
			job.Personal = true
			return job
		}
		const callers = 16
		err := concurrently(callers, func(caller int) error {
			_, _, err := stores[caller%2].CreateJob(t.Context(), personal("alice", fmt.Sprintf("A%04d", caller)))
			return err
		})
		refused := unjoin(err)
		for _, err := range refused {
			public, ok := errors.AsType[*berth.Error](err)
			if !ok || public.Kind != berth.LimitReached ||
				public.Public() != "Only one active job allowed per VM" {
				t.Errorf("refused: %v", err)
			}
		}
		jobs, err := stores[0].Jobs(t.Context(), store.Filter{})
		if err != nil || len(jobs) != 1 || len(refused) != callers-1 {
			t.Fatalf("%d jobs, %d refused, %v", len(jobs), len(refused), err)
		}

		s := stores[0]
		create(t, s, personal("bob", "BBBBB"))
		other := personal("alice", "CCCCC")
		other.Job.Submission.Machine.Type = "n1"
		other.Idempotency = store.Idempotency{Key: "k", Hash: "h"}
		third := create(t, s, other)
		if again, created, err := s.CreateJob(t.Context(), other); err != nil || created || again.Number != third.Number {
			t.Errorf("repeated: job %d, new %v, %v", again.Number, created, err)
		}
		lifeTo(t, s, 1, berth.StateFailed)
		if next := create(t, s, personal("alice", "DDDDD")); next.Number != 4 {
			t.Errorf("number %d: what was refused has used numbers", next.Number)
		}
	})
}

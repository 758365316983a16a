package store_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// model is what the store should hold, in memory.
type model struct {
	jobs []berth.Job    // by number - 1
	log  []berth.Record // by ID - 1
}

func (m *model) counts() map[berth.State]int {
	counts := map[berth.State]int{}
	for _, state := range berth.States() {
		counts[state] = 0
	}
	for _, job := range m.jobs {
		counts[job.State]++
	}
	return counts
}

// TestModel does random things to a store and to a model of it. The store and the model live as long as the test, each check goes
// on where the last one ended.
func TestModel(t *testing.T) {
	t.Parallel()
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		createUser(t, s, berth.User{Name: "alice"})
		createUser(t, s, berth.User{Name: "bob"})
		createTeam(t, s, "red", "alice")
		setUp, err := s.Audit(t.Context(), store.AuditFilter{})
		if err != nil || len(setUp) != 3 {
			t.Fatal(setUp, err)
		}
		slices.Reverse(setUp)
		m := &model{log: setUp}
		rapid.Check(t, func(r *rapid.T) {
			steps := rapid.IntRange(1, 20).Draw(r, "steps")
			for range steps {
				switch what := rapid.IntRange(0, 9).Draw(r, "what"); {
				case len(m.jobs) == 0 || what < 2:
					m.create(t, r, s)
				case what == 2:
					m.act(t, r, s)
				default:
					m.apply(t, r, s)
				}
			}
			m.compare(t, r, s)
			m.compareLog(t, r, s)
		})
	})
}

func (m *model) create(t *testing.T, r *rapid.T, s *store.Store) {
	job := newJob(rapid.SampledFrom([]string{"alice", "bob"}).Draw(r, "owner"), fmt.Sprintf("M%06d", len(m.jobs)))
	job.Job.Submission.Label = rapid.SampledFrom([]string{"", "a", "ab"}).Draw(r, "label")
	job.Job.Submission.Machine.Type = rapid.SampledFrom([]string{"n0", "n1"}).Draw(r, "machine")
	job.Job.Team = rapid.SampledFrom([]string{"", "red", "blue"}).Draw(r, "team")
	job.Personal = rapid.IntRange(0, 3).Draw(r, "personal") == 0
	taken := slices.ContainsFunc(m.jobs, func(other berth.Job) bool {
		return other.Owner == job.Job.Owner && other.Submission.Machine == job.Job.Submission.Machine && !other.State.Final()
	})
	created, _, err := s.CreateJob(t.Context(), job)
	if job.Personal && taken {
		if berth.KindOf(err) != berth.LimitReached {
			r.Fatalf("another job of a personal machine type: %v", err)
		}
		return
	}
	if err != nil || created.Number != int64(len(m.jobs)+1) {
		r.Fatalf("job %d, %v", created.Number, err)
	}
	m.jobs = append(m.jobs, created)
	m.append(created, berth.Event{Kind: berth.EventSubmitted, At: created.Submitted, By: created.Owner})
}

// append remembers what happened to a job.
func (m *model) append(job berth.Job, ev berth.Event) {
	m.log = append(m.log, berth.Record{
		ID: int64(len(m.log) + 1), Number: job.Number, Version: job.Version, State: job.State, Event: ev,
	})
}

func (m *model) act(t *testing.T, r *rapid.T, s *store.Store) {
	act := berth.Act{
		Kind:    rapid.SampledFrom([]berth.ActKind{berth.ActImagePulled, berth.ActKeyAdded, berth.ActTeamAdded}).Draw(r, "act"),
		At:      time.UnixMicro(rapid.Int64Range(1, 4e15).Draw(r, "act at")).UTC(),
		By:      rapid.SampledFrom([]string{"alice", "bob", berth.ByServer}).Draw(r, "actor"),
		From:    rapid.SampledFrom([]string{"", "192.0.2.1"}).Draw(r, "from"),
		Subject: rapid.SampledFrom([]string{"", "a", `a"`, `"Subject":"a"`, "alice", "red"}).Draw(r, "subject"),
		Detail:  rapid.SampledFrom([]string{"", "a", `{"Subject":"a"}`, `"Subject":"alice"`}).Draw(r, "detail of the act"),
	}
	if err := s.Record(t.Context(), act); err != nil {
		r.Fatal(err)
	}
	m.log = append(m.log, berth.Record{
		ID: int64(len(m.log) + 1), Act: act, Event: berth.Event{At: act.At, By: act.By, From: act.From},
	})
}

func (m *model) apply(t *testing.T, r *rapid.T, s *store.Store) {
	// Mostly young jobs, which have not ended.
	i := max(0, len(m.jobs)-1-rapid.IntRange(0, 7).Draw(r, "back"))
	ev := drawEvent(r)
	want, wantErr := berth.Apply(m.jobs[i], ev)
	got, err := s.Apply(t.Context(), m.jobs[i].Number, ev)
	if wantErr != nil {
		var refused, wantRefused *berth.StateError
		if !errors.As(err, &refused) || !errors.As(wantErr, &wantRefused) || *refused != *wantRefused {
			r.Fatalf("error %v, want %v", err, wantErr)
		}
		return
	}
	want.Version++
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		r.Fatalf("%s on job %d: %v (-want +got):\n%s", ev.Kind, want.Number, err, diff)
	}
	m.jobs[i] = got
	m.append(got, ev)
}

// drawEvent draws an event with what its kind carries.
func drawEvent(r *rapid.T) berth.Event {
	at := time.UnixMicro(rapid.Int64Range(1, 4e15).Draw(r, "at")).UTC()
	ev := berth.Event{Kind: rapid.SampledFrom(berth.EventKinds()).Draw(r, "kind"), At: at}
	switch ev.Kind {
	case berth.EventPlaced:
		ev.Attempt, ev.Hosts = "attempt", []string{"host"}
	case berth.EventWaiting:
		ev.Wait = rapid.SampledFrom([]berth.Wait{berth.WaitNone, berth.WaitImage, berth.WaitResources}).Draw(r, "wait")
		ev.Detail = rapid.StringMatching(`[a-z' %"]{0,8}`).Draw(r, "detail")
	case berth.EventStopRequested, berth.EventTerminateRequested:
		ev.By = rapid.SampledFrom([]string{"alice", berth.WishByWalltime}).Draw(r, "by")
	case berth.EventStaged:
		ev.Detail = rapid.SampledFrom([]string{"", "a file"}).Draw(r, "missing")
	case berth.EventEnded, berth.EventStaging:
		ev.Exit = berth.Exit{
			Known: rapid.Bool().Draw(r, "known"), Ran: rapid.Bool().Draw(r, "ran"), OutOfMemory: rapid.Bool().Draw(r, "oom"),
			Code: rapid.IntRange(0, 255).Draw(r, "code"), Signal: rapid.SampledFrom([]int{0, 9, 15}).Draw(r, "signal"),
		}
	case berth.EventRefused:
		ev.Detail = "no such image"
	case berth.EventSignaled:
		ev.By, ev.From = "bob", "192.0.2.2"
		ev.Signal = rapid.SampledFrom([]int{berth.SignalSuspend, berth.SignalContinue, 10}).Draw(r, "sent")
	case berth.EventActionRequested:
		ev.By, ev.Detail = "alice", "checkpoint"
	default: // nothing
	}
	return ev
}

func (m *model) compare(t *testing.T, r *rapid.T, s *store.Store) {
	counts, err := s.CountByState(t.Context())
	if diff := cmp.Diff(m.counts(), counts); diff != "" || err != nil {
		r.Fatalf("counts: %v (-want +got):\n%s", err, diff)
	}
	filter := store.Filter{
		Owner: rapid.SampledFrom([]string{"", "alice"}).Draw(r, "filter owner"),
		Team:  rapid.SampledFrom([]string{"", "", "red"}).Draw(r, "filter team"), States: rapid.SliceOfNDistinct(
			rapid.SampledFrom(berth.States()), 0, 4, rapid.ID[berth.State]).Draw(r, "states"),
		Label:      rapid.SampledFrom([]string{"", "a"}).Draw(r, "filter label"),
		LabelExact: rapid.Bool().Draw(r, "exact"), Newest: rapid.Bool().Draw(r, "newest"),
		After: rapid.Int64Range(0, int64(len(m.jobs))).Draw(r, "after"), Limit: rapid.IntRange(0, 20).Draw(r, "limit"),
	}
	filter.EndedFrom = rapid.Int64Range(0, int64(len(m.jobs))).Draw(r, "ended from")
	if filter.Limit > 0 {
		filter.Skip = rapid.IntRange(0, 3).Draw(r, "skip")
	}
	jobs, err := s.Jobs(t.Context(), filter)
	if err != nil {
		r.Fatal(err)
	}
	var want []berth.Job
	for _, number := range selects(filter, m.jobs) {
		want = append(want, m.jobs[number-1])
	}
	if diff := cmp.Diff(want, jobs); diff != "" {
		r.Fatalf("%+v (-want +got):\n%s", filter, diff)
	}
}

// compareLog compares the log as a whole and as each reader sees it.
func (m *model) compareLog(t *testing.T, r *rapid.T, s *store.Store) {
	if last, err := s.LastRecord(t.Context()); err != nil || last != int64(len(m.log)) {
		r.Fatalf("last record %d, %v; want %d", last, err, len(m.log))
	}
	number := int64(rapid.IntRange(1, len(m.jobs)).Draw(r, "job"))
	history := m.records(store.RecordFilter{Number: number})
	version := rapid.IntRange(0, len(history)).Draw(r, "after version")
	limit := rapid.IntRange(1, 20).Draw(r, "limit of events")
	events, err := s.Events(t.Context(), number, int64(version), limit)
	if diff := cmp.Diff(limited(history[version:], limit), events, cmpopts.EquateEmpty()); diff != "" || err != nil {
		r.Fatalf("events of job %d: %v (-want +got):\n%s", number, err, diff)
	}
	filter := store.RecordFilter{
		After:  rapid.Int64Range(0, int64(len(m.log))).Draw(r, "after record"),
		Until:  rapid.Int64Range(0, int64(len(m.log))).Draw(r, "until record"),
		Number: rapid.SampledFrom([]int64{0, 0, 0, number}).Draw(r, "records of"),
		Owner:  rapid.SampledFrom([]string{"", "bob"}).Draw(r, "records of owner"),
		Team:   rapid.SampledFrom([]string{"", "red"}).Draw(r, "records of team"),
		Limit:  rapid.IntRange(0, 20).Draw(r, "record limit"),
	}
	records, err := s.Records(t.Context(), filter)
	if diff := cmp.Diff(m.records(filter), records); diff != "" || err != nil {
		r.Fatalf("%+v: %v (-want +got):\n%s", filter, err, diff)
	}
	audit := store.AuditFilter{
		By:      rapid.SampledFrom([]string{"", "alice", "bob"}).Draw(r, "audit of"),
		Team:    rapid.SampledFrom([]string{"", "red"}).Draw(r, "audit of team"),
		Number:  rapid.SampledFrom([]int64{0, 0, number}).Draw(r, "audit of job"),
		Subject: rapid.SampledFrom([]string{"", "a", `a"`}).Draw(r, "audit of subject"),
		Since:   time.UnixMicro(rapid.SampledFrom([]int64{0, 2e15}).Draw(r, "since")).UTC(),
		Before:  rapid.Int64Range(0, int64(len(m.log))).Draw(r, "before record"),
		After:   rapid.Int64Range(0, int64(len(m.log))).Draw(r, "ends after record"),
		Limit:   rapid.IntRange(0, 20).Draw(r, "audit limit"),
	}
	records, err = s.Audit(t.Context(), audit)
	if diff := cmp.Diff(m.audit(audit), records); diff != "" || err != nil {
		r.Fatalf("%+v: %v (-want +got):\n%s", audit, err, diff)
	}
}

// records is what a RecordFilter means, in the plainest way.
func (m *model) records(f store.RecordFilter) []berth.Record {
	var all []berth.Record
	for _, record := range m.log {
		if record.ID <= f.After || f.Until > 0 && record.ID > f.Until || record.Number == 0 {
			continue
		}
		job := m.jobs[record.Number-1]
		everybody := f.Owner == "" && f.Team == ""
		whose := everybody || f.Owner != "" && job.Owner == f.Owner || f.Team != "" && job.Team == f.Team
		if f.Number == job.Number || f.Number == 0 && whose {
			all = append(all, record)
		}
	}
	return limited(all, f.Limit)
}

// audit is what an AuditFilter means.
func (m *model) audit(f store.AuditFilter) []berth.Record {
	var all []berth.Record
	for _, record := range slices.Backward(m.log) {
		by := record.Event.By
		whose := by != "" && (f.By == "" || by == f.By) && (f.Team == "" || m.ofTeam(record, f.Team))
		what := (f.Number == 0 || record.Number == f.Number) && (f.Subject == "" || record.Act.Subject == f.Subject)
		when := !record.Event.At.Before(f.Since) && (f.Before == 0 || record.ID < f.Before) && record.ID > f.After
		if whose && what && when {
			all = append(all, record)
		}
	}
	return limited(all, f.Limit)
}

// ofTeam says whether a record concerns a team. Alice is the only one in team red.
func (m *model) ofTeam(record berth.Record, team string) bool {
	switch record.Act.Kind {
	case "":
		return m.jobs[record.Number-1].Team == team
	case berth.ActTeamAdded:
		return record.Act.Subject == team
	case berth.ActKeyAdded, berth.ActUserAdded, berth.ActUserChanged:
		return record.Act.Subject == "alice"
	default:
		return false
	}
}

func limited(records []berth.Record, limit int) []berth.Record {
	if limit > 0 && len(records) > limit {
		return records[:limit]
	}
	return records
}

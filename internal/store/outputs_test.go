package store_test

import (
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// withEnded makes a store with three jobs that have ended, one that runs and one that was canceled before it was placed.
func withEnded(t *testing.T, dsn string) (s *store.Store, ended, others []int64) {
	t.Helper()
	s = open(t, store.Config{DSN: dsn})
	for i, state := range []berth.State{
		berth.StateCompleted, berth.StateCompleted, berth.StateCompleted, berth.StateRunning, berth.StateCanceled,
	} {
		number := create(t, s, newJob("ada", "job"+strconv.Itoa(i))).Number
		lifeTo(t, s, number, state)
		if state == berth.StateCompleted {
			ended = append(ended, number)
		} else {
			others = append(others, number)
		}
	}
	return s, ended, others
}

func listed(t *testing.T, s *store.Store, form store.OutputForm, after store.Output, before time.Time, limit int) []int64 {
	t.Helper()
	outputs, err := s.Outputs(t.Context(), form, after, before, limit)
	if err != nil {
		t.Fatal(err)
	}
	found := []int64{}
	for _, o := range outputs {
		found = append(found, o.Number)
	}
	return found
}

func TestOutputsOfEndedJobs(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		s, ended, others := withEnded(t, dsn)
		for _, number := range append(others, 4711) {
			if o, err := s.Output(t.Context(), number); berth.KindOf(err) != berth.NotFound {
				t.Errorf("job %d has the output %v, %v", number, o, err)
			}
		}
		first, err := s.Output(t.Context(), ended[0])
		if err != nil || first.Form != store.OutputPlain || first.Ended.IsZero() {
			t.Errorf("output %+v, %v", first, err)
		}
		later, none := time.Now().Add(time.Hour), store.Output{}
		for name, test := range map[string]struct{ want, got []int64 }{
			"all":        {ended, listed(t, s, store.OutputPlain, none, later, 10)},
			"a page":     {ended[:2], listed(t, s, store.OutputPlain, none, later, 2)},
			"the rest":   {ended[1:], listed(t, s, store.OutputPlain, first, later, 10)},
			"none older": {[]int64{}, listed(t, s, store.OutputPlain, none, first.Ended, 10)},
			"other form": {[]int64{}, listed(t, s, store.OutputCompressed, none, later, 10)},
		} {
			if diff := cmp.Diff(test.want, test.got); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
	})
}

func TestOutputsChange(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		s, ended, _ := withEnded(t, dsn)
		later := time.Now().Add(time.Hour).UTC().Truncate(time.Microsecond)
		for i, form := range []store.OutputForm{store.OutputCompressed, store.OutputCompressed, store.OutputDeleted} {
			changed := store.Output{Number: ended[i], Form: form, Size: 1 << 40, Changed: later}
			if err := s.SetOutput(t.Context(), changed); err != nil {
				t.Fatal(err)
			}
			got, err := s.Output(t.Context(), ended[i])
			changed.Ended = got.Ended
			if diff := cmp.Diff(changed, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		}
		if bytes, err := s.OutputBytes(t.Context()); bytes != 2<<40 || err != nil {
			t.Errorf("%d bytes, %v", bytes, err)
		}
	})
}

func TestMoveVaults(t *testing.T) {
	eachDatabase(t, func(t *testing.T, dsn string) {
		s := open(t, store.Config{DSN: dsn})
		file := func(name, path string) berth.Vault {
			return berth.Vault{Name: name, Owner: "ada", Kind: berth.VaultFile, Path: path}
		}
		createUser(t, s, berth.User{Name: "ada"}, file("a", "/old%/vaults/a"), file("b", "/old%er/b"), file("c", "/x/old%/c"),
			berth.Vault{Name: "e", Owner: "ada", Kind: berth.VaultEphemeral})
		if err := s.MoveVaults(t.Context(), "/old%/", "/new place/"); err != nil {
			t.Fatal(err)
		}
		vaults, err := s.Vaults(t.Context(), "ada")
		var paths []string
		for _, v := range vaults {
			paths = append(paths, v.Path)
		}
		if diff := cmp.Diff([]string{"/new place/vaults/a", "/old%er/b", "/x/old%/c", ""}, paths); diff != "" || err != nil {
			t.Errorf("%v %s", err, diff)
		}
	})
}

// TestBackup: the copy is the database at one moment, while others write.
func TestBackup(t *testing.T) {
	s := open(t, store.Config{DSN: "sqlite:" + filepath.Join(t.TempDir(), "berth.db")})
	stop, wrote := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		for {
			select {
			case <-stop:
				wrote <- n
				return
			default:
			}
			if _, _, err := s.CreateJob(t.Context(), newJob("ada", time.Now().String())); err != nil {
				t.Error(err)
			}
			n++
		}
	}()
	for create(t, s, newJob("ada", "between"+time.Now().String())).Number < 20 { // until both write
	}
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := s.Backup(t.Context(), path); err != nil {
		t.Error(err)
	}
	if err := s.Backup(t.Context(), path); err == nil {
		t.Error("a backup was written over another one")
	}
	close(stop)
	<-wrote
	after := open(t, store.Config{DSN: "sqlite:" + path})
	jobs, err := after.Jobs(t.Context(), store.Filter{})
	if err != nil || len(jobs) < 20 {
		t.Fatalf("%d jobs, %v", len(jobs), err)
	}
	last := create(t, after, newJob("ada", "after"))
	if last.Number != int64(len(jobs))+1 {
		t.Errorf("the next job of %d is %d", len(jobs), last.Number)
	}
}

func TestPostgresHasToolsOfItsOwn(t *testing.T) {
	s := open(t, store.Config{DSN: postgresDatabase(t)})
	if err := s.Backup(t.Context(), filepath.Join(t.TempDir(), "copy.db")); berth.KindOf(err) != berth.Unsupported {
		t.Error(err)
	}
}

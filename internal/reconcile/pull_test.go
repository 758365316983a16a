package reconcile

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/fake"
)

func TestPull(t *testing.T) {
	remote := func(j *berth.Job) { j.Image = remoteImage }
	t.Run("from the registry", func(t *testing.T) {
		b := newBench(t)
		defer b.run(t)()
		job := b.place(t, "exit 0", remote)
		b.until(t, job.Number, func(j berth.Job) bool { return j.Wait == berth.WaitImage && j.WaitDetail != "" })
		if job = b.until(t, job.Number, ended); job.State != berth.StateCompleted {
			t.Errorf("state %s, end %+v", job.State, job.End)
		}
		b.checkClean(t, job)
	})
	t.Run("refused", func(t *testing.T) {
		b := newBench(t)
		defer b.run(t)()
		job := b.place(t, "exit 0", func(j *berth.Job) { j.Image = "docker.io/library/nothing:latest" })
		job = b.until(t, job.Number, ended)
		if job.State != berth.StateCanceled || job.End.Reason != berth.EndRefused || job.End.Detail == "" {
			t.Errorf("state %s, end %+v", job.State, job.End)
		}
		b.checkClean(t, job)
	})
}

// silent is a registry that does not answer.
type silent struct {
	*fake.Engine
	asked chan struct{}
}

func (s silent) Pull(context.Context, string, engine.Credentials, engine.Progress) error {
	s.asked <- struct{}{}
	return errors.New("connection refused")
}

// TestASilentRegistryIsNoNews: the log of a job does not grow with each try.
func TestASilentRegistryIsNoNews(t *testing.T) {
	b := newBench(t)
	asked := make(chan struct{})
	b.cfg.Images = silent{b.engine, asked}
	stop := b.run(t)
	job := b.place(t, "exit 0", func(j *berth.Job) { j.Image = remoteImage })
	for range 4 {
		<-asked
	}
	b.apply(t, job.Number, berth.Event{Kind: berth.EventTerminateRequested, By: "ada"})
	go func() {
		for range asked { // until the wish is seen
		}
	}()
	b.until(t, job.Number, ended)
	stop()
	close(asked)
	records, err := b.store.Events(t.Context(), job.Number, 0, 100)
	var told []string
	for _, record := range records {
		if record.Event.Kind == berth.EventWaiting {
			told = append(told, record.Event.Detail)
		}
	}
	want := []string{
		"Pulling busybox:latest", "The registry of busybox:latest does not answer as it should; trying again",
	}
	if diff := cmp.Diff(want, told); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
}

// TestAWishEndsAPause, whether it comes before the pause or during it.
func TestAWishEndsAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := New(Config{}), &worker{}
		r.workers[1] = w
		rest := func(pause time.Duration) (next, took time.Duration) {
			began := time.Now()
			next = r.rest(t.Context(), 1, pause)
			return next, time.Since(began)
		}
		if next, took := rest(time.Second); next != 2*time.Second || took != time.Second {
			t.Errorf("no wish: took %s, then %s", took, next)
		}
		time.AfterFunc(time.Second, func() { r.interrupt(1) })
		if next, took := rest(lastPause); next != firstPause || took != time.Second {
			t.Errorf("a wish during the pause: took %s, then %s", took, next)
		}
		if next, took := rest(lastPause); next != firstPause || took != 0 {
			t.Errorf("a wish before the pause: took %s, then %s", took, next)
		}
		r.begin(w)
		if next, _ := rest(lastPause); next != lastPause {
			t.Errorf("a wish that the last step has seen: then %s", next)
		}
	})
}

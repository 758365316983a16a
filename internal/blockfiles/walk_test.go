package blockfiles

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/volume"
)

// TestEverybodyAtOnce: whatever comes in whatever order, who writes is alone, no open file loses its volume, every job gets the volume in the
// end, and nothing stays attached. The fake volume and synctest, which finds who waits for ever, do the checking.
func TestEverybodyAtOnce(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) { everybody(t, seed) })
		if t.Failed() {
			t.Fatalf("with seed %d", seed)
		}
	}
}

func everybody(t *testing.T, seed uint64) {
	b := newBench(t)
	stop := b.run(t)
	var all sync.WaitGroup
	for i := range uint64(6) {
		all.Go(func() { request(t, b, rand.New(rand.NewPCG(seed, i))) })
	}
	for i := range int64(3) {
		all.Go(func() { oneJob(t, b, i+1, rand.New(rand.NewPCG(seed, uint64(i)+100))) })
	}
	all.Wait()
	stop()
	if err := b.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if left, _ := b.volumes.Attempts(); len(left) > 0 {
		t.Errorf("left attached: %v", left)
	}
}

// upTo lets some time pass.
func upTo(random *rand.Rand, most time.Duration) {
	time.Sleep(time.Duration(random.Int64N(int64(most))))
}

// request opens the files again and again.
func request(t *testing.T, b *bench, random *rand.Rand) {
	for range 20 {
		upTo(random, 5*time.Second)
		change := random.IntN(2) == 0
		tree, err := b.Open(t.Context(), home, change)
		if err != nil {
			if berth.KindOf(err) != berth.Conflict {
				t.Error(err)
			}
			continue
		}
		b.volumes.set(func() { b.volumes.open++ })
		upTo(random, 5*time.Second)
		if has := b.volumes.has(volume.Server); has == "" || change && has != "write" {
			t.Errorf("open to change %v, and the server has it to %q", change, has)
		}
		b.volumes.set(func() { b.volumes.open-- })
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	}
}

// oneJob has the volume some times, each of which it tries until it has it.
func oneJob(t *testing.T, b *bench, number int64, random *rand.Rand) {
	for range 5 {
		upTo(random, 20*time.Second)
		req := job(number, random.IntN(2) == 0)
		for {
			_, err := b.Attach(t.Context(), req)
			if err == nil {
				break
			}
			if _, busy := errors.AsType[*volume.Busy](err); !busy {
				t.Error(err)
				return
			}
			time.Sleep(time.Second)
		}
		upTo(random, 10*time.Second)
		if err := b.Detach(t.Context(), req.Attempt); err != nil {
			t.Error(err)
		}
	}
}

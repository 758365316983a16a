package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/scheduler"
	"github.com/berth-hpc/berth/internal/simulation"
)

// scheduler measures one decision on a long queue and many hosts, and what a week of decisions makes of a cluster.
func (b *bench) scheduler(context.Context) error {
	b.decisions()
	return b.weeks()
}

// decisions measures how long a decision takes, with all jobs limited and with some that have no limit.
func (b *bench) decisions() {
	queued, hosts := b.pick(100_000, 1_000), b.pick(5_000, 50)
	b.printf("| queued jobs | hosts | jobs without limit | starts | time of a decision |\n|---|---|---|---|---|\n")
	for _, unlimited := range []int{0, 10} {
		snapshot := busyCluster(hosts, queued, unlimited)
		var took latencies
		var starts int
		for range b.pick(20, 2) {
			began := time.Now()
			outcome := scheduler.Decide(snapshot)
			took = append(took, time.Since(began))
			starts = len(outcome.Decisions)
		}
		b.printf("| %d | %d | %d %% | %d | fastest %v, %v |\n", queued, hosts, unlimited, starts, slices.Min(took).Round(10*time.Microsecond), took)
	}
}

// busyCluster is one whose hosts of 64 cores are about three quarters full, a tenth of them with GPUs, and a queue of jobs that
// mostly do not fit into the rest.
func busyCluster(hosts, queued, unlimited int) scheduler.Snapshot {
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same in every run
	limit := func() time.Duration {
		if random.IntN(100) < unlimited {
			return 0
		}
		return time.Duration(1+random.IntN(24*3600)) * time.Second
	}
	s := scheduler.Snapshot{Now: simulation.Epoch, Assumed: 24 * time.Hour}
	for i := range hosts {
		host := berth.Host{Name: fmt.Sprintf("host-%d", i), Capacity: berth.Capacity{Cores: 64, RAM: 256 << 30, Slots: 64}}
		if i%10 == 0 {
			host.Capacity.GPUs = 4
		}
		s.Hosts = append(s.Hosts, host)
		for range 4 {
			s.Active = append(s.Active, scheduler.Active{
				Need: berth.Capacity{Cores: 8 << random.IntN(2), RAM: 32 << 30, Slots: 1}, Hosts: []string{host.Name}, Walltime: limit(),
			})
		}
	}
	for i := range queued {
		job := scheduler.Queued{
			Number: int64(i + 1), Nodes: 1 << random.IntN(9), Walltime: limit(),
			Need: berth.Capacity{Cores: 16 << random.IntN(3), RAM: 16 << 30 << random.IntN(4), Slots: 1},
		}
		if random.IntN(20) == 0 {
			job.Need.GPUs = 1 + random.IntN(4)
		}
		s.Queued = append(s.Queued, job)
	}
	return s
}

// weeks lets a cluster live for some weeks of different load.
func (b *bench) weeks() error {
	hosts := b.pick(256, 32)
	b.printf("\n%d hosts, a simulated week each; jobs in the shape of Lublin and Feitelson. The perfect backfill knows how long each job\n", hosts)
	b.printf("will run and not only its limit. The bound is what no order of starts can exceed: work begins at once, and what there are no\n")
	b.printf("hosts for is made up for later, in any pieces.\n\n")
	b.printf("| largest job | offered load | jobs | utilisation | against the perfect backfill | against the bound | waits |\n|---|---|---|---|---|---|---|\n")
	for _, kind := range []struct {
		largest int
		load    float64
	}{{hosts / 4, 0.7}, {hosts / 4, 0.85}, {hosts / 4, 1}, {hosts, 0.85}} {
		w := simulateWeek(hosts, kind.largest, kind.load)
		used := mean(w.used)
		b.printf("| %d | %.2f | %d | %.1f %% | %.3f | %.3f | %v |\n", kind.largest, kind.load, len(w.jobs), 100*used,
			used/mean(w.informed), used/mean(w.bound), w.waits())
		if kind.load == drawnLoad && b.picture != "" {
			if err := os.WriteFile(b.picture, []byte(w.svg()), 0o644); err != nil { //nolint:gosec // a picture for everybody
				return err
			}
		}
	}
	return nil
}

const (
	// drawnLoad is the load of the week in the picture.
	drawnLoad = 1.0
	weekLong  = 7 * 24 * time.Hour
	// interval is how long a point of the picture is.
	interval = 30 * time.Minute
)

// week is what a cluster did in a simulated week.
type week struct {
	hosts int
	jobs  []simulation.Job
	ran   map[int64]simulation.Run
	// The shares of the hosts that are in use in each interval: used by the scheduler; informed by one that knows how long each job will
	// run; and bound, what no schedule can exceed: every job begins at its submission, and what there are no hosts for is made up
	// for later, in any pieces.
	used, informed, bound []float64
}

func simulateWeek(hosts, largest int, load float64) week {
	cluster := simulation.Cluster{Assumed: 24 * time.Hour}
	for i := range hosts {
		cluster.Hosts = append(cluster.Hosts, berth.Host{Name: fmt.Sprintf("host-%03d", i), Capacity: berth.Capacity{Cores: 1, Slots: 1}})
	}
	model := workload{random: rand.New(rand.NewPCG(7, 7)), nodes: largest} //nolint:gosec // the same in every run
	w := week{hosts: hosts, jobs: model.jobs(weekLong, load*float64(hosts))}
	w.ran = cluster.Run(w.jobs)
	w.used = w.shares(func(job simulation.Job) (from, to time.Duration) {
		run := w.ran[job.Number]
		return run.Start, run.End
	})
	known := slices.Clone(w.jobs)
	for i := range known {
		known[i].Walltime = known[i].Runs
	}
	informed := cluster.Run(known)
	w.informed = w.shares(func(job simulation.Job) (from, to time.Duration) {
		run := informed[job.Number]
		return run.Start, run.End
	})
	w.bound = w.shares(func(job simulation.Job) (from, to time.Duration) { return job.Arrives, job.Arrives + job.Runs })
	left := 0.0
	for i, wanted := range w.bound {
		left += wanted
		w.bound[i] = min(1, left)
		left -= w.bound[i]
	}
	return w
}

// shares are the shares of the hosts that are in use in each interval when the jobs run so.
func (w week) shares(runs func(simulation.Job) (from, to time.Duration)) []float64 {
	shares := make([]float64, int(weekLong/interval))
	whole := interval.Seconds() * float64(w.hosts)
	for _, job := range w.jobs {
		start, end := runs(job)
		for i := range shares {
			from, to := time.Duration(i)*interval, time.Duration(i+1)*interval
			shares[i] += max(0, min(to, end)-max(from, start)).Seconds() * float64(job.Nodes) / whole
		}
	}
	return shares
}

func mean(shares []float64) float64 {
	sum := 0.0
	for _, share := range shares {
		sum += share
	}
	return sum / float64(len(shares))
}

// waits are how long jobs waited for their starts.
func (w week) waits() string {
	var waits []time.Duration
	for _, job := range w.jobs {
		waits = append(waits, w.ran[job.Number].Start-job.Arrives)
	}
	slices.Sort(waits)
	return fmt.Sprintf("median %v, p90 %v, longest %v", waits[len(waits)/2].Round(time.Second), waits[len(waits)*9/10].Round(time.Minute),
		waits[len(waits)-1].Round(time.Minute))
}

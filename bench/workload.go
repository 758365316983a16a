package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/scheduler"
	"github.com/berth-hpc/berth/internal/simulation"
)

// workload makes jobs in the shape of Lublin and Feitelson, "The workload on parallel supercomputers", 2003: sizes and run times are
// drawn from their distributions. Submissions are a Poisson process with a daily cycle, which is simpler than theirs, so that the
// load can be chosen.
type workload struct {
	random *rand.Rand
	// nodes is the size of the largest job.
	nodes int
}

// The parameters of the model, for jobs of all kinds.
const (
	serial, powerOfTwo = 0.244, 0.576 // shares of jobs with one node, and with a power of two
	lowest             = 0.8          // the least size of other jobs, as a power of two, as are those that follow
	middle             = 2.5          // below the largest size
	below              = 0.86         // share of jobs below the middle

	shortShape, shortScale = 4.2, 0.94 // gamma distributions of the logarithms of run times
	longShape, longScale   = 312.0, 0.03
	shortBase, shortSlope  = 0.78, -0.0054 // share of short jobs, and how it falls with the size
	longest                = 12            // logarithm of the longest run time, in seconds
)

// jobs returns the jobs of some time, which take so many hosts in the mean.
func (w workload) jobs(length time.Duration, load float64) []simulation.Job {
	var jobs []simulation.Job
	offered, most := 0.0, load*length.Seconds()
	for offered < most {
		job := w.job()
		offered += float64(job.Nodes) * job.Runs.Seconds()
		jobs = append(jobs, job)
	}
	// A Poisson process of a known number is that many times drawn by themselves.
	times := make([]float64, len(jobs))
	for i := range times {
		times[i] = w.submission(length.Hours())
	}
	slices.Sort(times)
	for i := range jobs {
		jobs[i].Number = int64(i + 1)
		jobs[i].Arrives = time.Duration(times[i] * float64(time.Hour)).Round(time.Second)
	}
	return jobs
}

// submission draws an hour at which a job is submitted: at two in the afternoon four times as often as at night.
func (w workload) submission(hours float64) float64 {
	for {
		at := w.random.Float64() * hours
		if rate := 1 + 0.6*math.Cos((at-14)/24*2*math.Pi); w.random.Float64()*1.6 < rate {
			return at
		}
	}
}

func (w workload) job() simulation.Job {
	nodes := w.size()
	share := min(1, max(0, shortBase+shortSlope*float64(nodes)))
	shape, scale := longShape, longScale
	if w.random.Float64() < share {
		shape, scale = shortShape, shortScale
	}
	logarithm := w.gamma(shape, scale)
	for logarithm > longest {
		logarithm = w.gamma(shape, scale)
	}
	runs := time.Duration(math.Exp(logarithm)*float64(time.Second)) + time.Second
	return simulation.Job{Runs: runs, Queued: scheduler.Queued{
		Need: berth.Capacity{Cores: 1, Slots: 1}, Nodes: nodes, Walltime: w.limit(runs),
	}}
}

// size draws the nodes of a job.
func (w workload) size() int {
	if w.random.Float64() < serial {
		return 1
	}
	largest := math.Log2(float64(w.nodes))
	from, to := lowest, largest-middle
	if w.random.Float64() >= below {
		from, to = to, largest
	}
	exponent := from + w.random.Float64()*(to-from)
	if w.random.Float64() < powerOfTwo/(1-serial) {
		exponent = math.Round(exponent)
	}
	return min(w.nodes, max(1, int(math.Round(math.Exp2(exponent)))))
}

// limit draws the limit that somebody sets who expects a job to run for so long: a round one, and up to five times more.
func (w workload) limit(runs time.Duration) time.Duration {
	wanted := time.Duration(float64(runs) * (1 + 4*w.random.Float64()))
	for _, minutes := range []int{5, 15, 30, 60, 120, 240, 480, 720, 1440, 2880, 4320, 10080} {
		if limit := time.Duration(minutes) * time.Minute; limit >= wanted {
			return limit
		}
	}
	return wanted
}

// gamma draws from a gamma distribution, by Marsaglia and Tsang.
func (w workload) gamma(shape, scale float64) float64 {
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := w.random.NormFloat64()
		root := 1 + c*x
		v := root * root * root
		if v > 0 && math.Log(w.random.Float64()) < x*x/2+d-d*v+d*math.Log(v) {
			return d * v * scale
		}
	}
}

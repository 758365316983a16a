package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"time"

	"github.com/berth-hpc/berth/client"
	"github.com/berth-hpc/berth/internal/berthdtest"
)

// parallel is how many containers run at a time where throughput is measured.
const parallel = 4

// starts measures from the submission to the running container, and no-op jobs a second, beside the containerd client, ctr and
// runc doing the same with the same root filesystem.
func (b *bench) starts(ctx context.Context) (err error) {
	networks := []string{"none", "bridge"}
	servers := make(map[string]*berthdtest.Server)
	for _, network := range networks {
		s := b.server("start-"+network, "--cores", strconv.Itoa(parallel), "--network", network)
		defer func() { err = errors.Join(err, s.Down(ctx)) }()
		if err := b.startWithImage(ctx, s); err != nil {
			return err
		}
		servers[network] = s
	}
	bare, err := newPeers(ctx, b, servers["none"])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bare.close()) }()
	if err := b.startLatency(ctx, servers, networks, bare); err != nil {
		return err
	}
	return b.throughput(ctx, servers, networks, bare)
}

// startLatency takes turns between berth and the client, so that both see the same machine.
func (b *bench) startLatency(ctx context.Context, servers map[string]*berthdtest.Server, networks []string, bare *peers) error {
	var client latencies
	own := make(map[string]latencies)
	for i := range b.pick(60, 5) {
		took, err := bare.client(ctx, fmt.Sprint("latency-", i))
		if err != nil {
			return err
		}
		client = append(client, took)
		for _, network := range networks {
			took, err := submitToRunning(ctx, servers[network])
			if err != nil {
				return err
			}
			own[network] = append(own[network], took)
		}
	}
	b.printf("| one at a time | from submission to running | median against the client |\n|---|---|---|\n")
	b.printf("| containerd client, create to started | %v | 1.00 |\n", client)
	for _, network := range networks {
		l := own[network]
		b.printf("| berth, network %s | %v | %.2f |\n", network, l, float64(l.percentile(50))/float64(client.percentile(50)))
	}
	return nil
}

// noop is a job that does nothing.
func noop() client.Submission {
	return client.Submission{
		Container: &client.Container{Image: image, JobScript: "true"}, Machine: &client.MachineRequest{Type: "n0"},
	}
}

func submitToRunning(ctx context.Context, s *berthdtest.Server) (time.Duration, error) {
	c, err := clientOf(s)
	if err != nil {
		return 0, err
	}
	receipt, err := c.Batch(ctx, noop())
	if err != nil {
		return 0, err
	}
	job, err := c.Wait(ctx, client.Number(receipt.Number))
	if err == nil && job.State != "completed" {
		err = fmt.Errorf("job %d is %s: %+v", job.Number, job.State, job.End)
	}
	return job.Started.Sub(job.Submitted), err
}

// throughput measures how many containers that do nothing are brought from nothing to nothing in a second. All take turns, so that
// they see the same machine.
func (b *bench) throughput(ctx context.Context, servers map[string]*berthdtest.Server, networks []string, bare *peers) error {
	const client = "containerd client, the same container"
	type contestant struct {
		name string
		run  func(context.Context, string, int) (time.Duration, error)
	}
	peer := func(run func(context.Context, string) error) func(context.Context, string, int) (time.Duration, error) {
		return func(ctx context.Context, id string, n int) (time.Duration, error) {
			_, took, err := load(ctx, parallel, n, func(ctx context.Context, i int) error { return run(ctx, fmt.Sprint(id, "-", i)) })
			return took, err
		}
	}
	contestants := []contestant{
		{client, peer(func(ctx context.Context, id string) error { _, err := bare.client(ctx, id); return err })},
	}
	for _, network := range networks {
		contestants = append(contestants, contestant{"berth, network " + network, func(ctx context.Context, _ string, n int) (time.Duration, error) {
			return runMany(ctx, servers[network], n)
		}})
	}
	contestants = append(contestants, contestant{"ctr run", peer(bare.ctr)}, contestant{"runc run", peer(bare.runc)})
	rounds, n := b.pick(2, 1), b.pick(120, 8) // long rounds: the first and the last jobs of one do not use the machine up
	took := make(map[string]time.Duration)
	for round := range rounds {
		for i, c := range contestants {
			once, err := c.run(ctx, fmt.Sprintf("c%d-%d", i, round), n)
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			took[c.name] += once
		}
	}
	b.printf("\n| %d at a time | no-op containers/s | against the client |\n|---|---|---|\n", parallel)
	for _, c := range contestants {
		b.printf("| %s | %.1f | %.2f |\n", c.name, rate(n*rounds, took[c.name]), took[client].Seconds()/took[c.name].Seconds())
	}
	return nil
}

// runMany submits n jobs at once and waits for all.
func runMany(ctx context.Context, s *berthdtest.Server, n int) (time.Duration, error) {
	c, err := clientOf(s)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	var last int64
	for range n {
		receipt, err := c.Batch(ctx, noop())
		if err != nil {
			return 0, err
		}
		last = receipt.Number
	}
	// The last first: the others have ended by then, or are about to, so that asking for them takes little of the machine.
	for number := last; number > last-int64(n); number-- {
		if _, err := c.Wait(ctx, client.Number(number)); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// command runs a program and returns its output with its error.
func command(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

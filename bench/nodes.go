package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/berth-hpc/berth/client"
	"github.com/berth-hpc/berth/internal/berthdtest"
)

// manyNodes is how many nodes the larger jobs have.
const manyNodes = 4

// nodes measures from the submission until the command runs, for jobs of one node and of several.
func (b *bench) nodes(ctx context.Context) (err error) {
	s := b.server("nodes", "--cores", strconv.Itoa(manyNodes))
	defer func() { err = errors.Join(err, s.Down(ctx)) }()
	if err := b.startWithImage(ctx, s); err != nil {
		return err
	}
	took := make(map[int]latencies)
	for range b.pick(40, 3) { // in turns, so that both see the same machine
		for _, n := range []int{1, manyNodes} {
			once, err := submitToCommand(ctx, s, n)
			if err != nil {
				return err
			}
			took[n] = append(took[n], once)
		}
	}
	b.printf("| nodes | from submission to the first line of the command | median against one node |\n|---|---|---|\n")
	for _, n := range []int{1, manyNodes} {
		b.printf("| %d | %v | %.2f |\n", n, took[n], float64(took[n].percentile(50))/float64(took[1].percentile(50)))
	}
	return nil
}

// submitToCommand runs a job of n nodes to its end and returns how long it took until its command had said something.
func submitToCommand(ctx context.Context, s *berthdtest.Server, n int) (time.Duration, error) {
	c, err := clientOf(s)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	receipt, err := c.Batch(ctx, client.Submission{
		Container: &client.Container{Image: image, JobScript: "echo ready"}, Machine: &client.MachineRequest{Type: "n0", Nodes: n},
	})
	if err != nil {
		return 0, err
	}
	ref := client.Number(receipt.Number)
	output := c.FollowOutput(ctx, ref, 0)
	defer func() { _ = output.Close() }()
	if err := readUntil(output, "\nready\n"); err != nil {
		return 0, err
	}
	took := time.Since(began)
	job, err := c.Wait(ctx, ref)
	if err == nil && job.State != "completed" {
		err = fmt.Errorf("job %d is %s: %+v", job.Number, job.State, job.End)
	}
	return took, err
}

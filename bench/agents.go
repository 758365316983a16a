package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-hpc/berth/client"
)

// agents measures how long a signal and an action take in a running job, beside runc exec of true in a running container.
func (b *bench) agents(ctx context.Context) (err error) {
	s := b.server("agents", "--cores", "2", "--network", "none")
	defer func() { err = errors.Join(err, s.Down(ctx)) }()
	if err := b.startWithImage(ctx, s); err != nil {
		return err
	}
	c, err := clientOf(s)
	if err != nil {
		return err
	}
	ref, err := startJob(ctx, c, "while :; do sleep 1000; done")
	if err != nil {
		return err
	}
	bundle, stop, err := b.sleeper(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()

	var floor, signal, action latencies
	for range b.pick(200, 10) {
		began := time.Now()
		if err := command(ctx, "runc", "--root", bundle+"/state", "exec", "sleeper", "/bin/true"); err != nil {
			return err
		}
		floor = append(floor, time.Since(began))
		began = time.Now()
		if _, err := c.Signal(ctx, ref, client.SignalContinue); err != nil {
			return err
		}
		signal = append(signal, time.Since(began))
		began = time.Now()
		if err := c.Action(ctx, ref, "greet"); err != nil { // of the image's root filesystem
			return err
		}
		action = append(action, time.Since(began))
	}
	b.printf("| in a running job | latency | median against runc exec |\n|---|---|---|\n")
	b.printf("| runc exec of true | %v | 1.00 |\n", floor)
	for _, own := range []struct {
		name string
		took latencies
	}{{"signal, delivered and stored", signal}, {"action, started and stored", action}} {
		b.printf("| %s | %v | %.2f |\n", own.name, own.took, float64(own.took.percentile(50))/float64(floor.percentile(50)))
	}
	return nil
}

// startJob submits a job and returns when its command runs.
func startJob(ctx context.Context, c *client.Client, script string) (client.Ref, error) {
	receipt, err := c.Batch(ctx, client.Submission{
		Container: &client.Container{Image: image, JobScript: "echo ready\n" + script}, Machine: &client.MachineRequest{Type: "n0"},
	})
	if err != nil {
		return client.Ref{}, err
	}
	ref := client.Number(receipt.Number)
	output := c.FollowOutput(ctx, ref, 0)
	defer func() { _ = output.Close() }()
	return ref, readUntil(output, "\nready\n")
}

// sleeper starts a container by runc that does nothing for long.
func (b *bench) sleeper(ctx context.Context) (bundle string, stop func() error, err error) {
	bundle = filepath.Join(b.dir, "sleeper")
	if err := unpackBundle(ctx, bundle, filepath.Join(b.dir, "busybox.tar"), func(spec *specs.Spec) {
		spec.Process.Args = []string{"/bin/sleep", "100000"}
	}); err != nil {
		return "", nil, err
	}
	state := bundle + "/state"
	// Not by command: the container keeps the output open for as long as it runs.
	if err := exec.CommandContext(ctx, "runc", "--root", state, "run", "--detach", "--bundle", bundle, "sleeper").Run(); err != nil {
		return "", nil, fmt.Errorf("runc run: %w", err)
	}
	return bundle, func() error {
		return errors.Join(command(context.WithoutCancel(ctx), "runc", "--root", state, "delete", "--force", "sleeper"), os.RemoveAll(bundle))
	}, nil
}

// readUntil reads until a text came by.
func readUntil(r interface{ Read([]byte) (int, error) }, text string) error {
	var seen []byte
	chunk := make([]byte, 4<<10)
	for {
		n, err := r.Read(chunk)
		seen = append(seen, chunk[:n]...)
		if containsText(seen, text) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("output %q: %w", seen, err)
		}
	}
}

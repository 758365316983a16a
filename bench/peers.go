package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-hpc/berth/internal/berthdtest"
	engine "github.com/berth-hpc/berth/internal/engine/containerd"
	"github.com/berth-hpc/berth/internal/engine/containerd/cgroup"
	"github.com/berth-hpc/berth/internal/engine/containerd/private"
)

// peers run the command true in the root filesystem of the benchmarks' image by other means.
type peers struct {
	containerd *containerd.Client
	image      containerd.Image
	address    string
	// same is the specification of a job's container, without what is the agent's.
	same *specs.Spec
	// bundle is a runc bundle.
	bundle string
}

// newPeers uses the private containerd of a server and the image that is in it.
func newPeers(ctx context.Context, b *bench, s *berthdtest.Server) (*peers, error) {
	p := &peers{address: filepath.Join(private.StateDir(s.Data), "containerd.sock"), bundle: filepath.Join(b.dir, "bundle")}
	var err error
	if p.containerd, err = containerd.New(p.address, containerd.WithDefaultNamespace(engine.Namespace)); err != nil {
		return nil, err
	}
	if p.image, err = p.containerd.GetImage(ctx, "docker.io/"+image); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if p.same, err = p.specOfJob(ctx, s); err != nil {
		return nil, errors.Join(err, p.close())
	}
	if err := unpackBundle(ctx, p.bundle, filepath.Join(b.dir, "busybox.tar"), func(spec *specs.Spec) {
		spec.Process.Args = []string{"/bin/true"}
	}); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *peers) close() error { return p.containerd.Close() }

// specOfJob returns how the server has a container made: limits, filter of system calls, mounts. Only the agent and what belongs to
// one job is left out, and the command is a shell that runs true.
func (p *peers) specOfJob(ctx context.Context, s *berthdtest.Server) (*specs.Spec, error) {
	c, err := clientOf(s)
	if err != nil {
		return nil, err
	}
	ref, err := startJob(ctx, c, "sleep 1000")
	if err != nil {
		return nil, err
	}
	ctx = namespaces.WithNamespace(ctx, engine.Namespace)
	containers, err := p.containerd.Containers(ctx)
	if err != nil || len(containers) != 1 {
		return nil, fmt.Errorf("%d containers of one job: %w", len(containers), err)
	}
	spec, err := containers[0].Spec(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.Terminate(ctx, ref); err != nil {
		return nil, err
	}
	if _, err := c.Wait(ctx, ref); err != nil {
		return nil, err
	}
	spec.Process.Args = []string{"/bin/sh", "-c", "true"}
	spec.Mounts = slices.DeleteFunc(spec.Mounts, func(m specs.Mount) bool { return m.Type == "bind" })
	return spec, nil
}

// client runs the same container as a job by the containerd client, and returns how long it took from nothing to started.
func (p *peers) client(ctx context.Context, id string) (started time.Duration, err error) {
	ctx = namespaces.WithNamespace(ctx, engine.Namespace)
	began := time.Now()
	spec, group := *p.same, *p.same.Linux
	group.CgroupsPath = cgroup.Path(id)
	spec.Linux = &group
	container, err := p.containerd.NewContainer(ctx, id, containerd.WithNewSnapshot(id, p.image), containerd.WithSpec(&spec))
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, container.Delete(ctx, containerd.WithSnapshotCleanup)) }()
	task, err := container.NewTask(ctx, cio.NullIO)
	if err != nil {
		return 0, err
	}
	defer func() {
		_, deleted := task.Delete(ctx)
		err = errors.Join(err, deleted)
	}()
	exited, err := task.Wait(ctx)
	if err != nil {
		return 0, err
	}
	if err := task.Start(ctx); err != nil {
		return 0, err
	}
	started = time.Since(began)
	status := <-exited
	if status.Error() != nil || status.ExitCode() != 0 {
		return 0, fmt.Errorf("the peer's container ended with %d: %w", status.ExitCode(), status.Error())
	}
	return started, nil
}

func (p *peers) ctr(ctx context.Context, id string) error {
	return command(ctx, "ctr", "--address", p.address, "--namespace", engine.Namespace, "run", "--rm", "--null-io", "docker.io/"+image, id, "/bin/true")
}

func (p *peers) runc(ctx context.Context, id string) error {
	return command(ctx, "runc", "--root", p.bundle+"/state", "run", "--bundle", p.bundle, id)
}

// unpackBundle unpacks a root filesystem for runc, with runc's own configuration and a change of it.
func unpackBundle(ctx context.Context, bundle, rootfs string, change func(*specs.Spec)) error {
	if err := os.MkdirAll(filepath.Join(bundle, "rootfs"), 0o700); err != nil {
		return err
	}
	if err := command(ctx, "tar", "-C", filepath.Join(bundle, "rootfs"), "-xf", rootfs); err != nil {
		return err
	}
	if err := command(ctx, "runc", "spec", "--bundle", bundle); err != nil {
		return err
	}
	path := filepath.Join(bundle, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var spec specs.Spec
	if err := json.Unmarshal(text, &spec); err != nil {
		return err
	}
	spec.Process.Terminal = false
	change(&spec)
	if text, err = json.Marshal(spec); err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

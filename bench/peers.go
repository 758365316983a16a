package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"

	engine "github.com/berth-hpc/berth/internal/engine/containerd"
	"github.com/berth-hpc/berth/internal/engine/containerd/private"
)

// peers run the command true in the root filesystem of the benchmarks' image by other means.
type peers struct {
	containerd *containerd.Client
	image      containerd.Image
	address    string
	// bundle is a runc bundle.
	bundle string
}

// newPeers uses the private containerd of a server's data directory and the image that is in it.
func newPeers(ctx context.Context, b *bench, data string) (*peers, error) {
	p := &peers{address: filepath.Join(private.StateDir(data), "containerd.sock"), bundle: filepath.Join(b.dir, "bundle")}
	var err error
	if p.containerd, err = containerd.New(p.address, containerd.WithDefaultNamespace(engine.Namespace)); err != nil {
		return nil, err
	}
	if p.image, err = p.containerd.GetImage(ctx, "docker.io/"+image); err != nil {
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

// client runs a container by the containerd client and returns how long it took from nothing to started.
func (p *peers) client(ctx context.Context, id string) (started time.Duration, err error) {
	ctx = namespaces.WithNamespace(ctx, engine.Namespace)
	began := time.Now()
	container, err := p.containerd.NewContainer(ctx, id, containerd.WithNewSnapshot(id, p.image),
		containerd.WithNewSpec(oci.WithImageConfig(p.image), oci.WithProcessArgs("/bin/true")))
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

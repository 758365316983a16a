package containerd

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
	"tags.cncf.io/container-device-interface/pkg/parser"

	"github.com/berth-hpc/berth/internal/engine/containerd/topology"
	"github.com/berth-hpc/berth/internal/image"
)

// labelGPUs are the devices of a node, by their qualified names and with blanks between them.
const labelGPUs = "berth/gpus"

// allDevices is the name that vendors give to all devices of a kind together.
const allDevices = "all"

// GPUConfig says which devices are GPUs.
type GPUConfig struct {
	// Kind is a kind of the Container Device Interface, such as nvidia.com/gpu. Empty: there are none.
	Kind string
	// SpecDirs are where the specifications of devices are; empty is where all programs look.
	SpecDirs []string
}

// gpus gives the devices of one kind to nodes, each to one at a time.
type gpus struct {
	kind     string
	registry *cdi.Cache
	// shares are by the qualified names of devices.
	shares
}

func openGPUs(cfg GPUConfig, records []containers.Container) (*gpus, error) {
	g := &gpus{kind: cfg.Kind}
	if cfg.Kind != "" {
		vendor, class := parser.ParseQualifier(cfg.Kind)
		if err := cmp.Or(parser.ValidateVendorName(vendor), parser.ValidateClassName(class)); err != nil {
			return nil, fmt.Errorf("kind of GPUs %q: %w", cfg.Kind, err)
		}
		options := []cdi.Option{cdi.WithAutoRefresh(false)}
		if len(cfg.SpecDirs) > 0 {
			options = append(options, cdi.WithSpecDirs(cfg.SpecDirs...))
		}
		var err error
		if g.registry, err = cdi.NewCache(options...); err != nil {
			return nil, fmt.Errorf("GPUs: %w", err)
		}
	}
	for _, record := range records {
		g.give(record.ID, strings.Fields(record.Labels[labelGPUs]))
	}
	return g, nil
}

// devices returns the qualified names of all, in order. The specifications are read again: drivers write them anew.
func (g *gpus) devices() ([]string, error) {
	if g.registry == nil {
		return nil, nil
	}
	if err := g.registry.Refresh(); err != nil {
		return nil, fmt.Errorf("GPUs: %w", err)
	}
	return slices.DeleteFunc(g.registry.ListDevices(), func(device string) bool {
		kind, name, _ := strings.Cut(device, "=")
		return kind != g.kind || name == allDevices
	}), nil
}

// take gives each of some nodes as many devices as it needs. All of them get theirs or none does.
func (g *gpus) take(nodes []string, each int) error {
	if each == 0 {
		return nil
	}
	all, err := g.devices()
	if err != nil {
		return err
	}
	if len(all) < each*len(nodes) {
		return image.Refuse("%d nodes with %d GPUs each; this host has %d", len(nodes), each, len(all))
	}
	_, ok := g.share(nodes, func(free func(device string) bool) [][]string {
		left := slices.DeleteFunc(all, func(device string) bool { return !free(device) })
		if len(left) < each*len(nodes) {
			return nil
		}
		return slices.Collect(slices.Chunk(left, each))
	})
	if !ok {
		return fmt.Errorf("%d nodes with %d GPUs each: too few of %d are free", len(nodes), each, len(all))
	}
	return nil
}

// inject adds devices to the specification of a container.
func (g *gpus) inject(spec *specs.Spec, devices []string) error {
	if len(devices) == 0 {
		return nil
	}
	if missing, err := g.registry.InjectDevices(spec, devices...); err != nil {
		return fmt.Errorf("GPUs %v, of which %v are not there: %w", devices, missing, err)
	}
	return nil
}

// openDevices finds the GPUs and the CPUs; those of attempts that are there are taken.
func (e *Engine) openDevices(ctx context.Context) error {
	records, err := e.records(ctx)
	if err != nil {
		return err
	}
	if e.gpus, err = openGPUs(e.cfg.GPUs, records); err != nil {
		return err
	}
	var cores []topology.Core
	if e.cfg.PinCPUs {
		if cores, err = coresOfHost(); err != nil {
			return err
		}
	}
	e.cpus = openCPUs(cores, records)
	return nil
}

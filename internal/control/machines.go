package control

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/berth-hpc/berth"
)

// Machines lists the machine types, all of them for the name "all" or "". An unknown name lists none; a vault that the caller
// does not have is Invalid.
func (s *Service) Machines(ctx context.Context, caller berth.Caller, name, vault string) ([]berth.Machine, error) {
	if vault != "" && vault != berth.EphemeralVault {
		_, err := s.Vault(ctx, caller, vault)
		switch {
		case berth.KindOf(err) == berth.NotFound:
			return nil, berth.Errorf(berth.Invalid, "Invalid parameter(s): you have no vault %q", vault)
		case err != nil:
			return nil, err
		}
	}
	machines, err := s.machines(ctx)
	if err != nil || name == "" || name == "all" {
		return machines, err
	}
	return slices.DeleteFunc(slices.Clone(machines), func(m berth.Machine) bool { return m.Name != name }), nil
}

const msgNoMachine = "Machine type not found"

// SetMachine makes a machine type or replaces it. Administrators only. Jobs that were submitted before keep what they got. A bound of
// scratch is Invalid where the server's disk cannot hold it.
func (s *Service) SetMachine(ctx context.Context, caller berth.Caller, machine berth.Machine) error {
	if err := administers(caller); err != nil {
		return err
	}
	if err := checkMachine(machine); err != nil {
		return err
	}
	if machine.Scratch > 0 {
		if err := s.cfg.CheckScratch(); err != nil {
			return invalid("scratch_mb", "this server cannot bound it: %v", err)
		}
	}
	detail := fmt.Sprintf("cores=%d ram=%dMiB nodes=%d-%d", machine.Cores, machine.RAM>>20, machine.ScaleMin, machine.ScaleMax)
	if err := s.cfg.Store.SetMachine(ctx, machine, s.act(caller, berth.ActMachineSet, machine.Name, detail)); err != nil {
		return err
	}
	s.machineTypes.forget()
	return nil
}

// RemoveMachine removes a machine type. Administrators only. Conflict while a queue has it. Jobs that were submitted before run all the same.
func (s *Service) RemoveMachine(ctx context.Context, caller berth.Caller, name string) error {
	if err := administers(caller); err != nil {
		return err
	}
	if err := s.cfg.Store.RemoveMachine(ctx, name, s.act(caller, berth.ActMachineRemoved, name, "")); err != nil {
		return named(err, msgNoMachine)
	}
	s.machineTypes.forget()
	return nil
}

// Limits of a machine type: what a node certainly needs, and what no machine has.
const (
	minRAM, maxRAM = 1 << 20, 1 << 50 // and of scratch
	maxCount       = 1 << 20
	maxGrace       = 24 * time.Hour
	maxDescription = 200
)

func checkMachine(m berth.Machine) error {
	switch {
	case m.Cores < 1 || m.Cores > maxCount:
		return invalid("cores", "%d is not within 1 to %d", m.Cores, maxCount)
	case m.RAM < minRAM || m.RAM > maxRAM:
		return invalid("ram_mb", "%d is not within %d to %d", m.RAM>>20, minRAM>>20, int64(maxRAM>>20))
	case m.GPUs < 0 || m.GPUs > maxCount:
		return invalid("gpus", "%d is not within 0 to %d", m.GPUs, maxCount)
	case m.Scratch < 0 || m.Scratch > maxRAM || m.Scratch > 0 && m.Scratch < minRAM:
		return invalid("scratch_mb", "%d is not within 0 to %d", m.Scratch>>20, int64(maxRAM>>20))
	case m.ScaleMin < 1 || m.ScaleMax < m.ScaleMin || m.ScaleMax > maxCount:
		return invalid("scale_min, scale_max", "%d to %d is no range within 1 to %d", m.ScaleMin, m.ScaleMax, maxCount)
	case m.Grace < 0 || m.Grace > maxGrace:
		return invalid("grace_seconds", "%v is not within 0 to %v", m.Grace.Seconds(), maxGrace.Seconds())
	case !(m.Price >= 0) || math.IsInf(m.Price, 0):
		return invalid("price", "%v is no price", m.Price)
	case len(m.Description) > maxDescription || !printable(m.Description):
		return invalid("description", "it must have at most %d printable characters", maxDescription)
	}
	return checkName(m.Name)
}

// machines returns all machine types. The slice is shared: do not change it.
func (s *Service) machines(ctx context.Context) ([]berth.Machine, error) {
	return s.machineTypes.get(struct{}{}, s.cfg.Now(), func() ([]berth.Machine, error) { return s.cfg.Store.Machines(ctx) })
}

// Ready returns nil when the store and the engine answer.
func (s *Service) Ready(ctx context.Context) error {
	if _, err := s.cfg.Store.Machines(ctx); err != nil {
		return &berth.Error{Kind: berth.Unavailable, Msg: "The store does not answer", Err: err}
	}
	if err := s.cfg.EngineReady(ctx); err != nil {
		return &berth.Error{Kind: berth.Unavailable, Msg: "The engine does not answer", Err: err}
	}
	return nil
}

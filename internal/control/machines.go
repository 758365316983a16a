package control

import (
	"context"
	"slices"

	"github.com/berth-hpc/berth"
)

// Machines lists the machine types, all of them for the name "all" or "". An unknown name lists none; a vault that the caller
// does not have is Invalid.
func (s *Service) Machines(ctx context.Context, caller berth.Caller, name, vault string) ([]berth.Machine, error) {
	if vault != "" && vault != berth.EphemeralVault {
		_, err := s.cfg.Store.Vault(ctx, caller.User.Name, vault)
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

package httpapi

import (
	"runtime"

	"github.com/berth-hpc/berth"
)

// machineEntry is a machine type as /jarvice/machines shows it. Lists of devices and properties are texts there.
type machineEntry struct {
	Name            string   `json:"mc_name"`
	Description     string   `json:"mc_description"`
	Arch            string   `json:"mc_arch"`
	Cores           int      `json:"mc_cores"`
	RAM             int64    `json:"mc_ram"` // GB
	GPUs            int      `json:"mc_gpus"`
	Swap            int      `json:"mc_swap"`
	Scratch         int      `json:"mc_scratch"`
	Slots           int      `json:"mc_slots"`
	Devices         string   `json:"mc_devices"`
	Properties      string   `json:"mc_properties"`
	ScaleMin        int      `json:"mc_scale_min"`
	ScaleMax        int      `json:"mc_scale_max"`
	ScaleSelect     string   `json:"mc_scale_select"`
	Lesser          int      `json:"mc_lesser"`
	Priority        int      `json:"mc_priority"`
	MaxConcurrent   int      `json:"mc_max_concurrent"`
	SchedulerID     int      `json:"mc_sched_id"`
	SlaveCores      int      `json:"mc_slave_cores"`
	SlaveGPUs       int      `json:"mc_slave_gpus"`
	SlaveRAM        int      `json:"mc_slave_ram"`
	SlaveProperties string   `json:"mc_slave_properties"`
	Price           float64  `json:"mc_price"`
	Privileges      []string `json:"mc_privs"`
}

// machines answers an object keyed by the names of machine types.
func (s *server) machines(c *call, caller berth.Caller, p params) error {
	machines, err := s.control.Machines(c.r.Context(), caller, p.text("name"), p.text("vault"))
	if err != nil {
		return err
	}
	entries := make(map[string]machineEntry, len(machines))
	for _, m := range machines {
		entries[m.Name] = newMachineEntry(m)
	}
	return c.writeJSON(entries)
}

func newMachineEntry(m berth.Machine) machineEntry {
	return machineEntry{
		Name: m.Name, Description: m.Description, Arch: machineArch(runtime.GOARCH),
		Cores: m.Cores, RAM: wholeGB(m.RAM), GPUs: m.GPUs, Slots: 1,
		ScaleMin: m.ScaleMin, ScaleMax: m.ScaleMax,
		Priority: m.Position, Price: m.Price, Privileges: []string{},
	}
}

// wholeGB rounds down, because clients take whole numbers only and choose a type by what it has, but not to nothing.
func wholeGB(bytes int64) int64 { return max(1, bytes>>30) }

// machineArch returns the name that uname prints for an architecture of Go.
func machineArch(goarch string) string {
	switch goarch {
	case "amd64":
		return "x86_64"
	case "arm64":
		return "aarch64"
	default:
		return goarch
	}
}

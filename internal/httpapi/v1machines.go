package httpapi

import (
	"encoding/json"
	"time"

	"github.com/berth-hpc/berth"
)

// machineAnswer is a machine type as our own API shows it.
type machineAnswer struct {
	Name        string  `json:"name"`
	Description string  `json:"description"`
	Cores       int     `json:"cores"`
	RAM         int64   `json:"ram_mb"`
	GPUs        int     `json:"gpus"`
	ScaleMin    int     `json:"scale_min"`
	ScaleMax    int     `json:"scale_max"`
	Grace       int64   `json:"grace_seconds"`
	Personal    bool    `json:"personal"`
	Price       float64 `json:"price"`
	Position    int     `json:"position"`
}

func newMachineAnswer(m berth.Machine) machineAnswer {
	return machineAnswer{
		Name: m.Name, Description: m.Description, Cores: m.Cores, RAM: m.RAM >> 20, GPUs: m.GPUs,
		ScaleMin: m.ScaleMin, ScaleMax: m.ScaleMax, Grace: seconds(m.Grace), Personal: m.Personal,
		Price: m.Price, Position: m.Position,
	}
}

func (s *server) machineTypes(c *call, caller berth.Caller, _ params) error {
	machines, err := s.control.Machines(c.r.Context(), caller, "", "")
	if err != nil {
		return err
	}
	return c.writeJSON(struct {
		Machines []machineAnswer `json:"machines"`
	}{each(machines, newMachineAnswer)})
}

// Bounds of what a machine type says: all that control takes can be said.
const (
	maxCount = 1 << 20
	maxRAM   = 1 << 30      // MB
	maxGrace = 24 * 60 * 60 // seconds
)

// setMachine makes or replaces a machine type.
func (s *server) setMachine(c *call, caller berth.Caller, _ params) error {
	d, raw, err := c.readMembers("description", "cores", "ram_mb", "gpus", "scale_min", "scale_max", "grace_seconds", "personal",
		"price", "position")
	if err != nil {
		return err
	}
	m := d.machineType(raw)
	if err := d.err(); err != nil {
		return err
	}
	m.Name = c.r.PathValue("name")
	if err := s.control.SetMachine(c.r.Context(), caller, m); err != nil {
		return err
	}
	return c.writeJSON(struct {
		Machine machineAnswer `json:"machine"`
	}{newMachineAnswer(m)})
}

func (d *decoder) machineType(raw members) berth.Machine {
	return berth.Machine{
		Description: d.word("description", raw["description"]),
		Cores:       d.present("cores", raw["cores"], bounds{low: 1, high: maxCount}),
		RAM:         int64(d.present("ram_mb", raw["ram_mb"], bounds{low: 1, high: maxRAM})) << 20,
		GPUs:        d.whole("gpus", raw["gpus"], bounds{high: maxCount}),
		ScaleMin:    d.whole("scale_min", raw["scale_min"], bounds{fallback: 1, low: 1, high: maxCount}),
		ScaleMax:    d.whole("scale_max", raw["scale_max"], bounds{fallback: 1, low: 1, high: maxCount}),
		Grace:       time.Duration(d.whole("grace_seconds", raw["grace_seconds"], bounds{high: maxGrace})) * time.Second,
		Personal:    d.flag("personal", raw["personal"]),
		Price:       d.amount("price", raw["price"]),
		Position:    d.whole("position", raw["position"], bounds{high: maxCount}),
	}
}

// present is whole for a number that must be there.
func (d *decoder) present(path string, raw json.RawMessage, b bounds) int {
	if kindOf(raw) == kindNull {
		d.sent(path, raw, "a whole number is required")
		return b.low
	}
	return d.whole(path, raw, b)
}

func (s *server) removeMachine(c *call, caller berth.Caller, _ params) error {
	if err := s.control.RemoveMachine(c.r.Context(), caller, c.r.PathValue("name")); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: "removed"})
}

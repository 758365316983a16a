package httpapi

import (
	"encoding/json"
	"math"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// appEntry is an application as /jarvice/apps shows it. Clients take a number or null as its owner, and no name.
type appEntry struct {
	ID         string          `json:"id"`
	Price      float64         `json:"price"`
	Owner      *int            `json:"owner"`
	Arch       string          `json:"arch"`
	Source     string          `json:"src"`
	Walltime   string          `json:"walltime"`
	Repository string          `json:"repo"`
	Privileges []string        `json:"privs"`
	Updated    int64           `json:"updated"`
	CheckedOut bool            `json:"checkedout"`
	Certified  bool            `json:"certified"`
	Data       json.RawMessage `json:"data"`
}

// appArch is what all public clients know. The images of applications are made for the architecture of the machines.
const appArch = "x86_64"

// apps answers an object keyed by the IDs of applications. Who gives no credentials sees the public ones.
func (s *server) apps(c *call) error {
	p, err := c.parameters()
	if err != nil {
		return err
	}
	version, err := p.integer("version", 0)
	if err != nil {
		return err
	}
	var caller berth.Caller
	if c.credentials(p) != (credentials{}) {
		if caller, err = s.authenticate(c, p); err != nil {
			return err
		}
	}
	filter := control.ApplicationsFilter{Name: allByName(p.text("name")), Version: int(min(version, math.MaxInt32))}
	found, err := s.control.Applications(c.r.Context(), caller, filter)
	if err != nil {
		return err
	}
	entries := make(map[string]appEntry, len(found))
	for _, app := range found {
		entries[app.ID] = s.newAppEntry(c, app)
	}
	return c.writeJSON(entries)
}

func (s *server) newAppEntry(c *call, app berth.Application) appEntry {
	entry := appEntry{
		ID: app.ID, Price: app.Price, Arch: appArch, Repository: app.Image, Privileges: []string{},
		Updated: unix(app.Updated), Certified: app.Certified, Data: json.RawMessage("{}"),
	}
	def, err := s.control.AppDef(app)
	if err != nil {
		s.logUnreadable(c, app, err)
		return entry
	}
	if wire, err := def.Wire(); err != nil {
		s.logUnreadable(c, app, err)
	} else {
		entry.Data = wire
	}
	if def.Walltime > 0 {
		entry.Walltime = clock(def.Walltime)
	}
	return entry
}

// logUnreadable tells of an application whose AppDef cannot be read any more. Listings do not fail for one: it is shown without.
func (s *server) logUnreadable(c *call, app berth.Application, err error) {
	s.log.ErrorContext(c.r.Context(), "stored AppDef cannot be read", "application", app.ID, "error", err)
}

// appdef answers the AppDef of one application.
func (s *server) appdef(c *call) error {
	p, err := c.parameters()
	if err != nil {
		return err
	}
	caller, err := s.authenticate(c, p, "name")
	if err != nil {
		return err
	}
	app, err := s.control.Application(c.r.Context(), caller, p.text("name"))
	if err != nil {
		return err
	}
	def, err := s.control.AppDef(app)
	if err != nil {
		return err
	}
	wire, err := def.Wire()
	if err != nil {
		return err
	}
	return c.writeJSON(json.RawMessage(wire))
}

// validate checks an AppDef for whoever sends one, whatever its label: authors of images do it when they build them.
func (s *server) validate(c *call) error {
	body, err := c.readBody(maxAppDef)
	if err != nil {
		return err
	}
	if err := s.control.Validate(c.r.Context(), body); err != nil {
		return err
	}
	return c.writeJSON(struct {
		Valid bool `json:"valid"`
	}{true})
}

package httpapi

import (
	"bufio"
	"bytes"
	"math"
	"net/http"
	"slices"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// appEntry is an application as /jarvice/apps shows it, without data, its AppDef, which comes last. Clients take a number or null as its owner, and no name.
type appEntry struct {
	ID         string   `json:"id"`
	Price      float64  `json:"price"`
	Owner      *int     `json:"owner"`
	Arch       string   `json:"arch"`
	Source     string   `json:"src"`
	Walltime   string   `json:"walltime"`
	Repository string   `json:"repo"`
	Privileges []string `json:"privs"`
	Updated    int64    `json:"updated"`
	CheckedOut bool     `json:"checkedout"`
	Certified  bool     `json:"certified"`
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
	return s.writeEntries(c, caller, found)
}

// writeEntries sends one entry after the other: together they can be large.
func (s *server) writeEntries(c *call, caller berth.Caller, found []berth.Application) error {
	c.w.Header().Set("Content-Type", contentJSON)
	const pieces = 32 << 10
	out := bufio.NewWriterSize(c.w, pieces) // it keeps its first error
	separator := byte('{')
	for _, app := range found {
		def, err := s.control.Definition(c.r.Context(), caller, app)
		switch {
		case berth.KindOf(err) == berth.NotFound:
			continue // it went away since it was listed
		case berth.KindOf(err) == berth.Unavailable, c.r.Context().Err() != nil:
			return err
		case err != nil:
			s.logUnreadable(c, app, err)
			def = control.Definition{Wire: []byte("{}")}
		}
		head, err := entryHead(app, def)
		if err != nil {
			return err
		}
		_ = out.WriteByte(separator)
		_, _ = out.Write(head)
		_, _ = out.Write(def.Wire)
		_ = out.WriteByte('}')
		separator = ','
	}
	if separator == '{' {
		_ = out.WriteByte('{')
	}
	_ = out.WriteByte('}')
	return out.Flush()
}

// entryHead is the member of an application up to its data, without which it is shown when its AppDef cannot be read.
func entryHead(app berth.Application, def control.Definition) ([]byte, error) {
	entry := appEntry{
		ID: app.ID, Price: app.Price, Arch: appArch, Repository: app.Image, Privileges: []string{},
		Updated: unix(app.Updated), Certified: app.Certified,
	}
	if def.AppDef != nil && def.Walltime > 0 {
		entry.Walltime = clock(def.Walltime)
	}
	key, err := encodeJSON(app.ID)
	if err != nil {
		return nil, err
	}
	value, err := encodeJSON(entry)
	if err != nil {
		return nil, err
	}
	return slices.Concat(key, []byte(":"), bytes.TrimSuffix(value, []byte("}")), []byte(`,"data":`)), nil
}

// logUnreadable tells of an application whose AppDef cannot be read any more. Listings do not fail for one: it is shown without.
func (s *server) logUnreadable(c *call, app berth.Application, err error) {
	s.log.ErrorContext(c.r.Context(), "stored AppDef cannot be read", "application", app.ID, "error", err)
}

// appdef answers the AppDef of one application.
func (s *server) appdef(c *call, caller berth.Caller, p params) error {
	app, err := s.control.Application(c.r.Context(), caller, p.text("name"))
	if err != nil {
		return err
	}
	def, err := s.control.Definition(c.r.Context(), caller, app)
	if err != nil {
		return err
	}
	c.write(http.StatusOK, contentJSON, def.Wire)
	return nil
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

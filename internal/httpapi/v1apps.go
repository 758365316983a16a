package httpapi

import (
	"encoding/json"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// appAnswer is an application as our own API shows it.
type appAnswer struct {
	ID        string    `json:"id"`
	Owner     string    `json:"owner"`
	Team      string    `json:"team"`
	Public    bool      `json:"public"`
	Certified bool      `json:"certified"`
	Image     string    `json:"image"`
	Price     float64   `json:"price"`
	Created   time.Time `json:"created"`
	Updated   time.Time `json:"updated"`
	Commands  []string  `json:"commands"`
}

// changedApp is an application that was made or changed, with what is doubtful in its AppDef.
type changedApp struct {
	App      appAnswer `json:"app"`
	Warnings []string  `json:"warnings"`
}

func newAppAnswer(app berth.Application) appAnswer {
	return appAnswer{
		ID: app.ID, Owner: app.Owner, Team: app.Team, Public: app.Public, Certified: app.Certified, Image: app.Image,
		Price: app.Price, Created: app.Created, Updated: app.Updated, Commands: append([]string{}, app.Commands...),
	}
}

func (s *server) writeChangedApp(c *call, caller berth.Caller, app berth.Application) error {
	answer := changedApp{newAppAnswer(app), []string{}}
	def, err := s.control.Definition(c.r.Context(), caller, app)
	if err != nil { // the change is done all the same
		s.logUnreadable(c, app, err)
	} else {
		answer.Warnings = append(answer.Warnings, def.Warnings...)
	}
	return c.writeJSON(answer)
}

func (s *server) applications(c *call, caller berth.Caller, _ params) error {
	found, err := s.control.Applications(c.r.Context(), caller, control.ApplicationsFilter{})
	if err != nil {
		return err
	}
	return c.writeJSON(struct {
		Apps []appAnswer `json:"apps"`
	}{each(found, newAppAnswer)})
}

// application answers one application with its AppDef as it was sent.
func (s *server) application(c *call, caller berth.Caller, _ params) error {
	app, err := s.control.Application(c.r.Context(), caller, c.r.PathValue("id"))
	if err != nil {
		return err
	}
	return c.writeJSON(struct {
		App    appAnswer       `json:"app"`
		AppDef json.RawMessage `json:"appdef"`
	}{newAppAnswer(app), json.RawMessage(app.AppDef)})
}

// addApplication makes an application. It may take long: without an AppDef in the body, or with a
// pull secret, the image is pulled first.
func (s *server) addApplication(c *call, caller berth.Caller, _ params) error {
	d, m, err := c.readMembersOf(maxAppDef, "id", "image", "appdef", "pull_secret", "team", "public", "certified", "price")
	if err != nil {
		return err
	}
	req := control.ApplicationRequest{
		ID: d.required("id", m["id"]), Image: d.image("image", m["image"]), AppDef: d.json("appdef", m["appdef"]),
		PullSecret: d.anyText("pull_secret", m["pull_secret"]), Team: d.word("team", m["team"]),
		Public: d.flag("public", m["public"]), Certified: d.flag("certified", m["certified"]), Price: d.amount("price", m["price"]),
	}
	if req.Image == "" {
		d.problem("image", "nothing was sent, the name of an image is required")
	}
	if err := d.err(); err != nil {
		return err
	}
	if err := s.linger(c); err != nil {
		return err
	}
	app, err := s.control.AddApplication(c.r.Context(), caller, req)
	if err != nil {
		return err
	}
	return s.writeChangedApp(c, caller, app)
}

func (d *decoder) image(path string, raw json.RawMessage) string { return d.line(path, raw, maxImage) }

// changeApplication changes an application. It may take long: a new image is pulled with the pull secret.
func (s *server) changeApplication(c *call, caller berth.Caller, _ params) error {
	d, m, err := c.readMembersOf(maxAppDef, "image", "appdef", "pull_secret", "team", "public", "certified", "price")
	if err != nil {
		return err
	}
	change := control.ApplicationChange{
		AppDef: d.json("appdef", m["appdef"]), PullSecret: d.anyText("pull_secret", m["pull_secret"]),
		Team: d.optionalWord("team", m["team"]), Public: d.optionalFlag("public", m["public"]),
		Certified: d.optionalFlag("certified", m["certified"]), Price: d.optionalAmount("price", m["price"]),
	}
	if kindOf(m["image"]) != kindNull {
		change.Image = new(d.image("image", m["image"]))
	}
	if len(m) == 0 {
		d.problem("body", "changes nothing, at least one member is required")
	}
	if err := d.err(); err != nil {
		return err
	}
	if err := s.linger(c); err != nil {
		return err
	}
	app, err := s.control.ChangeApplication(c.r.Context(), caller, c.r.PathValue("id"), change)
	if err != nil {
		return err
	}
	return s.writeChangedApp(c, caller, app)
}

func (s *server) removeApplication(c *call, caller berth.Caller, _ params) error {
	if err := s.control.RemoveApplication(c.r.Context(), caller, c.r.PathValue("id")); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: "removed"})
}

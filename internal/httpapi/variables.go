package httpapi

import "github.com/berth-hpc/berth"

// variables answers the variables of an account. Their values are the user's own, and secrets at times.
func (s *server) variables(c *call, caller berth.Caller, _ params) error {
	values, err := s.control.Variables(c.r.Context(), caller, c.r.PathValue("name"))
	if err != nil {
		return err
	}
	if values == nil {
		values = map[string]string{}
	}
	return c.writeJSON(struct {
		Variables map[string]string `json:"variables"`
	}{values})
}

// setVariable sets a variable, or removes it when its value is empty.
func (s *server) setVariable(c *call, caller berth.Caller, _ params) error {
	d, m, err := c.readMembers("value")
	if err != nil {
		return err
	}
	if kindOf(m["value"]) == kindNull {
		d.problem("value", "nothing was sent, a text is required")
	}
	value := d.anyText("value", m["value"])
	if err := d.err(); err != nil {
		return err
	}
	if err := s.control.SetVariable(c.r.Context(), caller, c.r.PathValue("name"), c.r.PathValue("key"), value); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: "set"})
}

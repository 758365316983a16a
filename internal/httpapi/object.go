package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// members are those of a JSON object of our own API. In it a member that nobody knows is a mistake, unlike in a submission.
type members map[string]json.RawMessage

// readMembers reads the body, whatever its label, and returns its members with the decoder for them. An empty body has none: what is
// required is then missed by name.
func (c *call) readMembers(allowed ...string) (*decoder, members, error) {
	return c.readMembersOf(maxParameters, allowed...)
}

// readMembersOf is readMembers for a body of at most limit bytes.
func (c *call) readMembersOf(limit int64, allowed ...string) (*decoder, members, error) {
	body, err := c.readBody(limit)
	if err != nil {
		return nil, nil, err
	}
	return decodeMembers(body, allowed)
}

func decodeMembers(body []byte, allowed []string) (*decoder, members, error) {
	unreadable := decoder{msg: commonTexts.unreadable}
	d, m := &decoder{msg: msgInvalid}, members{}
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
	case !utf8.Valid(body):
		unreadable.problem("body", "is not valid UTF-8")
	case body[0] != '{':
		unreadable.problem("body", "is not a JSON object")
	default:
		if err := json.Unmarshal(body, &m); err != nil {
			unreadable.problem("body", notJSON(err))
		}
	}
	d.known("", m, allowed)
	return d, m, unreadable.err()
}

// known records the members that are not allowed.
func (d *decoder) known(path string, m members, allowed []string) {
	for _, name := range slices.Sorted(maps.Keys(m)) {
		if !slices.Contains(allowed, name) {
			d.problem(path+quote(name), "is not known here, allowed are "+strings.Join(allowed, ", "))
		}
	}
}

// inner decodes an object within the object; an absent one has no members.
func (d *decoder) inner(path string, raw json.RawMessage, allowed ...string) members {
	var m members
	if d.object(path, raw, &m) {
		d.known(path+".", m, allowed)
	}
	return m
}

// required decodes a word that must be there.
func (d *decoder) required(path string, raw json.RawMessage) string {
	if kindOf(raw) == kindNull || string(raw) == `""` {
		d.sent(path, raw, "a text is required")
		return ""
	}
	return d.word(path, raw)
}

// optionalWord and optionalFlag return nil for an absent member.
func (d *decoder) optionalWord(path string, raw json.RawMessage) *string {
	if kindOf(raw) == kindNull {
		return nil
	}
	return new(d.word(path, raw))
}

func (d *decoder) optionalFlag(path string, raw json.RawMessage) *bool {
	if kindOf(raw) == kindNull {
		return nil
	}
	return new(d.flag(path, raw))
}

// optionalAmount returns nil for an absent member.
func (d *decoder) optionalAmount(path string, raw json.RawMessage) *float64 {
	if kindOf(raw) == kindNull {
		return nil
	}
	return new(d.amount(path, raw))
}

// json decodes an object of any members and returns it as it came, nil for an absent one.
func (d *decoder) json(path string, raw json.RawMessage) []byte {
	var ignored members
	if !d.object(path, raw, &ignored) {
		return nil
	}
	return raw
}

// amount decodes a number that is not negative, 0 for an absent one.
func (d *decoder) amount(path string, raw json.RawMessage) float64 {
	switch kindOf(raw) {
	case kindNull:
		return 0
	case kindNumber:
		if n, err := strconv.ParseFloat(string(raw), 64); err == nil && n >= 0 && !math.IsInf(n, 0) {
			return n
		}
	case kindObject, kindArray, kindBool, kindText: // no number
	}
	d.sent(path, raw, "a number from 0 on is allowed")
	return 0
}

// farthest bounds times in the future: they stay within what can be stored and shown.
const farthest = 100 * 365 * 24 * time.Hour

// expiry decodes a time in the future, given as itself or as how long it is until then; zero for neither.
func (d *decoder) expiry(path string, m members, now time.Time) time.Time {
	at, in := d.word(path+"expires", m["expires"]), d.word(path+"expires_in", m["expires_in"])
	allowed := fmt.Sprintf("in the future and at most %d years ahead is allowed", int(farthest/(365*24*time.Hour)))
	switch {
	case at != "" && in != "":
		d.problem(path+"expires_in", "was sent with expires, one of them is allowed")
	case at != "":
		t, err := time.Parse(time.RFC3339, at)
		if err != nil || !t.After(now) || t.After(now.Add(farthest)) {
			d.sent(path+"expires", m["expires"], "a time such as 2030-01-31T12:00:00Z "+allowed)
		}
		return t.UTC()
	case in != "":
		after, err := time.ParseDuration(in)
		if err != nil || after <= 0 || after > farthest {
			d.sent(path+"expires_in", m["expires_in"], "a duration such as 720h "+allowed)
		}
		return now.Add(after).UTC()
	}
	return time.Time{}
}

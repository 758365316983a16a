package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-hpc/berth"
)

// params are the parameters of a request: what query, form and JSON body hold together. Of several values for a name the last one
// that is not empty counts, and those of the body come last.
type params struct {
	list []param
	// unreadable is the public text for a value that cannot be understood.
	unreadable string
}

type param struct{ name, value string }

// parameters reads the parameters of a request whose body carries nothing else. Clients label bodies wrongly and send empty ones
// as JSON, so the first byte decides what a body is.
func (c *call) parameters() (params, error) {
	p, err := c.queryParameters()
	if err != nil {
		return p, err
	}
	body, err := c.readBody(maxParameters)
	if err != nil {
		return p, err
	}
	body = bytes.TrimSpace(body)
	switch {
	case len(body) == 0:
		return p, nil
	case body[0] == '{':
		return p, p.addJSON(body)
	case body[0] == '[', body[0] == '"':
		return p, p.refuse("body", "is neither a JSON object nor a form")
	default:
		return p, p.addForm("body", string(body))
	}
}

// queryParameters reads those of the URL only, for requests whose body is something else.
func (c *call) queryParameters() (params, error) {
	p := params{unreadable: c.route.texts.unreadable}
	return p, p.addForm("query", c.r.URL.RawQuery)
}

// refuse returns the error for a parameter that cannot be read.
func (p *params) refuse(name, detail string) error {
	return &berth.Error{Kind: berth.Invalid, Msg: p.unreadable, Detail: name + ": " + detail}
}

// wrong returns the error for a parameter that can be read and makes no sense.
func wrong(name, sentence string) error {
	return &berth.Error{Kind: berth.Invalid, Msg: msgInvalid, Detail: name + ": " + sentence}
}

// addForm adds name=value pairs. Unlike url.ParseQuery it takes a semicolon for what it is: clients send values unescaped.
func (p *params) addForm(where, form string) error {
	for pair := range strings.SplitSeq(form, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name, errName := url.QueryUnescape(name)
		value, errValue := url.QueryUnescape(value)
		if errName != nil || errValue != nil {
			return p.refuse(where, "has a % that two hexadecimal digits do not follow")
		}
		if err := p.add(name, value); err != nil {
			return err
		}
	}
	return nil
}

// addJSON adds the members of an object. Numbers and booleans become text, as they are in a form.
func (p *params) addJSON(body []byte) error {
	if !utf8.Valid(body) {
		return p.refuse("body", "is not valid UTF-8")
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return p.refuse("body", notJSON(err))
	}
	for name, raw := range members {
		switch kindOf(raw) {
		case kindNull:
		case kindObject, kindArray:
			// Nothing has a parameter of this kind; unknown ones are ignored.
			if slices.Contains(parameterNames(), name) {
				return p.refuse(name, quoteSent(name, raw)+" was sent, a text is allowed")
			}
		case kindText:
			if err := p.add(name, decodeText(raw)); err != nil {
				return err
			}
		case kindNumber, kindBool:
			if err := p.add(name, string(raw)); err != nil {
				return err
			}
		}
	}
	return nil
}

// parameterNames are all that any operation reads.
func parameterNames() []string {
	return []string{
		"username", "apikey", "name", "number", "lines", "completed", "all", "label", "exactmatch", "vault",
		"pull_secret", "rootfs", "offset", "follow", "raw", "wait",
		"version", "info", "owner", "data", "width", "height", "emphatic", "columns", "rows",
		"path", "details", "sort", "upload", "recursive", "directory", "outputs", "fingerprint",
		"signal", "action", "last_event_id", "by", "subject", "since", "before", "limit",
		"target", "repo", "reltime",
		"reportuser", "zone", "billingcode", "statuses", "machtypes", "jobapp", "itemized", "timeperiod", "startdate", "enddate",
	}
}

func (p *params) add(name, value string) error {
	if value == "" || name == "" {
		return nil
	}
	if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		if !slices.Contains(parameterNames(), name) {
			return nil
		}
		return p.refuse(name, "holds a NUL byte or is not valid UTF-8")
	}
	p.list = append(p.list, param{name, value})
	return nil
}

// text returns a parameter, "" when it is absent.
func (p *params) text(name string) string {
	for _, one := range slices.Backward(p.list) {
		if one.name == name {
			return one.value
		}
	}
	return ""
}

// flag returns a boolean parameter. Everything but the words for true is false, as clients expect it.
func (p *params) flag(name string) bool {
	switch strings.ToLower(p.text(name)) {
	case "true", "1", "yes":
		return true
	default:
		return false
	}
}

// integer returns a whole number that is not negative, or fallback when it is absent.
func (p *params) integer(name string, fallback int64) (int64, error) {
	text := p.text(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return 0, p.refuse(name, quote(text)+" was sent, a whole number from 0 on is allowed")
	}
	return n, nil
}

// signed returns a whole number of any sign, or fallback when it is absent. What is beyond the largest is the largest.
func (p *params) signed(name string, fallback int) (int, error) {
	text := p.text(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, p.refuse(name, quote(text)+" was sent, a whole number is allowed")
	}
	return n, nil
}

// moment returns a time, the zero time when it is absent.
func (p *params) moment(name string) (time.Time, error) {
	text := p.text(name)
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, p.refuse(name, quote(text)+" was sent, a time such as 2026-01-31T12:00:00Z is allowed")
	}
	return at, nil
}

package appdef

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// maxNotes bounds how many mistakes, and how many warnings, are listed.
	maxNotes = 20
	// maxQuoted bounds how much of a wrong input a sentence repeats, in characters.
	maxQuoted = 60
)

// notes are sentences about places.
type notes struct {
	texts []string
	more  int
}

func (n *notes) add(place, format string, args ...any) {
	if len(n.texts) == maxNotes {
		n.more++
		return
	}
	sentence := fmt.Sprintf(format, args...)
	if place != "" {
		sentence = place + ": " + sentence
	}
	n.texts = append(n.texts, sentence)
}

// all returns the sentences, the last one of which tells of those that were left out.
func (n *notes) all() []string {
	if n.more == 0 {
		return n.texts
	}
	return append(n.texts, fmt.Sprintf("and %d more", n.more))
}

// err returns the error for all notes, nil when there are none.
func (n *notes) err() error {
	if len(n.texts) == 0 {
		return nil
	}
	return &Error{Problems: n.all()}
}

// reader turns JSON into types and collects what is wrong and what is doubtful.
type reader struct {
	problems, warnings notes
}

// place is an object of the file and how to get there. Its methods take members of any kind that files in the wild have in that
// place: numbers and booleans in quotes, whole numbers with a fraction of zero.
type place struct {
	*reader
	path string
	value
}

func (p place) at(key string) string {
	if strings.ContainsFunc(key, unicode.IsControl) || utf8.RuneCountInString(key) > maxQuoted {
		key = quote(key)
	}
	if p.path == "" {
		return key
	}
	return p.path + "." + key
}

func (p place) problem(key, format string, args ...any) { p.problems.add(p.at(key), format, args...) }

func (p place) warn(key, format string, args ...any) { p.warnings.add(p.at(key), format, args...) }

// text reads a text; "" for an absent one.
func (p place) text(key string) string {
	v, ok := p.get(key)
	if !ok {
		return ""
	}
	s, ok := v.scalar()
	switch {
	case !ok:
		p.problem(key, "%s is not a text", v.kind)
	case strings.ContainsRune(s, 0):
		p.problem(key, "the text has a NUL byte")
	}
	return s
}

// flag reads a boolean; false for an absent one.
func (p place) flag(key string) bool {
	v, ok := p.get(key)
	if !ok {
		return false
	}
	b, ok := v.bool()
	switch {
	case !ok:
		p.problem(key, "%s is not true or false", v)
	case v.kind != kindBool:
		p.warn(key, "%s is read as %t", v, b)
	}
	return b
}

// bool returns a boolean, also one that is written as text or number.
func (v value) bool() (b, ok bool) {
	s, _ := v.scalar()
	switch strings.ToLower(s) {
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	default:
		return false, v.kind == kindText && s == ""
	}
}

// whole reads a whole number of at least low; 0 for an absent one.
func (p place) whole(key string, low int) int {
	f := p.number(key)
	if f == nil {
		return 0
	}
	if *f != math.Trunc(*f) || *f < float64(low) || *f > math.MaxInt32 {
		v, _ := p.get(key)
		p.problem(key, "%s is not a whole number from %d to %d", v, low, math.MaxInt32)
		return 0
	}
	return int(*f)
}

// number reads a number; nil for an absent one.
func (p place) number(key string) *float64 {
	v, ok := p.get(key)
	if !ok {
		return nil
	}
	s, _ := v.scalar()
	if v.kind == kindText && strings.TrimSpace(s) == "" {
		return nil
	}
	f, ok := parseFloat(s)
	if !ok {
		p.problem(key, "%s is not a number", v)
		return nil
	}
	return &f
}

// parseFloat reads a finite decimal number, and none of the other notations that strconv knows.
func parseFloat(s string) (float64, bool) {
	s = strings.TrimSpace(s)
	if strings.Trim(s, "0123456789+-.eE") != "" {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil
}

// list reads a list of texts; nil for an absent one.
func (p place) list(key string) []string {
	v, ok := p.get(key)
	if !ok {
		return nil
	}
	if s, ok := v.scalar(); ok {
		p.warn(key, "%s is read as a list of one", v)
		return []string{s}
	}
	if v.kind != kindList {
		p.problem(key, "%s is not a list", v.kind)
		return nil
	}
	texts := make([]string, 0, len(v.items))
	for _, item := range v.items {
		s, ok := item.scalar()
		if !ok || strings.ContainsRune(s, 0) {
			p.problem(key, "%s is not a text", item)
			continue
		}
		texts = append(texts, s)
	}
	return texts
}

// walltime reads HH:MM:SS; 0 for an absent one.
func (p place) walltime(key string) time.Duration {
	s := p.text(key)
	if s == "" {
		return 0
	}
	parts := strings.Split(s, ":")
	var limit time.Duration
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 20) // takes no sign, and keeps far from the largest time.Duration
		if err != nil || len(parts) != 3 || i > 0 && n > 59 {
			p.problem(key, "%s is not a time as HH:MM:SS", quote(s))
			return 0
		}
		limit = limit*60 + time.Duration(n)
	}
	return limit * time.Second
}

// objects calls visit for every member of an object of objects, in order.
func (p place) objects(key string, visit func(name string, inner place)) {
	v, ok := p.get(key)
	if !ok {
		return
	}
	if v.kind != kindObject {
		p.problem(key, "%s is not an object", v)
		return
	}
	at := p.at(key)
	for _, m := range v.members {
		inner := place{p.reader, place{path: at}.at(m.key), m.value}
		if m.kind != kindObject {
			p.problems.add(inner.path, "%s is not an object", m.value)
			continue
		}
		visit(m.key, inner)
	}
}

// quote makes wrong input safe and short enough for a sentence.
func quote(s string) string { return strconv.Quote(shorten(s)) }

func shorten(s string) string {
	if utf8.RuneCountInString(s) <= maxQuoted {
		return s
	}
	return string([]rune(s[:min(len(s), 4*maxQuoted)])[:maxQuoted]) + "…"
}

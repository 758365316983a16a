package httpapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/berth-hpc/berth"
)

// decoder turns JSON values into those of the domain and collects what is wrong with them.
type decoder struct {
	// msg is the public text that the problems follow.
	msg      string
	problems []string
}

// Limits of what a submission may hold.
const (
	// maxWord bounds texts that are names, in bytes.
	maxWord = 256
	// maxImage bounds a reference to an image in bytes: the registry's longest name, a tag and a digest fit.
	maxImage = 1024
	// maxProblems bounds how many wrong members one answer names.
	maxProblems = 8
)

// err returns the error for everything that was wrong, nil when nothing was.
func (d *decoder) err() error {
	if len(d.problems) == 0 {
		return nil
	}
	shown := d.problems[:min(len(d.problems), maxProblems)]
	return &berth.Error{Kind: berth.Invalid, Msg: d.msg, Detail: strings.Join(shown, "; ")}
}

// problem records what is wrong with a member.
func (d *decoder) problem(path, sentence string) {
	d.problems = append(d.problems, path+": "+sentence)
}

// sent records what was sent and what is allowed.
func (d *decoder) sent(path string, raw json.RawMessage, allowed string) {
	what := "nothing"
	if len(raw) > 0 {
		what = quoteSent(path[strings.LastIndexByte(path, '.')+1:], raw)
	}
	d.problem(path, what+" was sent, "+allowed)
}

// object decodes an object into a struct of raw members. It returns false for an absent one, null and another kind.
func (d *decoder) object(path string, raw json.RawMessage, into any) bool {
	switch kindOf(raw) {
	case kindNull:
		return false
	case kindObject:
		if err := json.Unmarshal(raw, into); err != nil { // it was checked with the body that it came in
			panic(fmt.Errorf("httpapi: decode a checked object: %w", err))
		}
		return true
	default:
		d.sent(path, raw, "an object is allowed")
		return false
	}
}

// anyText decodes a text of any length; "" for an absent one.
func (d *decoder) anyText(path string, raw json.RawMessage) string {
	switch kindOf(raw) {
	case kindNull:
		return ""
	case kindText:
		text := decodeText(raw)
		if strings.ContainsRune(text, 0) {
			d.problem(path, "a text with a NUL byte was sent, a text without one is allowed")
		}
		return text
	default:
		d.sent(path, raw, "a text is allowed")
		return ""
	}
}

// word decodes a text on one line of limited length; "" for an absent one and for a wrong one.
func (d *decoder) word(path string, raw json.RawMessage) string { return d.line(path, raw, maxWord) }

// line is word with a limit in bytes.
func (d *decoder) line(path string, raw json.RawMessage, limit int) string {
	switch kindOf(raw) {
	case kindNull:
		return ""
	case kindText:
		text := decodeText(raw)
		switch {
		case len(text) > limit:
			d.problem(path, fmt.Sprintf("a text of %d bytes was sent, at most %d are allowed", len(text), limit))
		case strings.ContainsFunc(text, unicode.IsControl):
			d.sent(path, raw, "a text without control characters is allowed")
		default:
			return text
		}
		return ""
	default:
		d.sent(path, raw, "a text is allowed")
		return ""
	}
}

// wordOrNumber decodes a word that some clients send as a whole number.
func (d *decoder) wordOrNumber(path string, raw json.RawMessage) string {
	if kindOf(raw) != kindNumber {
		return d.word(path, raw)
	}
	if _, err := strconv.ParseInt(string(raw), 10, 64); err != nil {
		d.sent(path, raw, "a text or a whole number of 64 bits is allowed")
		return ""
	}
	return string(raw)
}

// flag decodes a boolean, also one that came as text; false for an absent one.
func (d *decoder) flag(path string, raw json.RawMessage) bool {
	switch kindOf(raw) {
	case kindNull:
		return false
	case kindBool:
		return raw[0] == 't'
	case kindText:
		switch strings.ToLower(decodeText(raw)) {
		case "true":
			return true
		case "false", "":
			return false
		}
	case kindObject, kindArray, kindNumber:
	}
	d.sent(path, raw, "true or false is allowed")
	return false
}

// bounds are those of a whole number, both included, and what an absent one means.
type bounds struct{ fallback, low, high int }

// whole decodes a whole number, also one that came as text.
func (d *decoder) whole(path string, raw json.RawMessage, b bounds) int {
	var digits string
	switch kindOf(raw) {
	case kindNull:
		return b.fallback
	case kindNumber:
		digits = string(raw)
	case kindText:
		if digits = decodeText(raw); digits == "" {
			return b.fallback
		}
	case kindObject, kindArray, kindBool: // no digits
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n < b.low || n > b.high {
		allowed := fmt.Sprintf("a whole number from %d to %d is allowed", b.low, b.high)
		if b.low == b.high {
			allowed = fmt.Sprintf("only %d is allowed", b.low)
		}
		d.sent(path, raw, allowed)
		return b.fallback
	}
	return n
}

// address reads an IP address; absent and empty ones are "".
func (d *decoder) address(path string, raw json.RawMessage) string {
	text := d.word(path, raw)
	if text == "" {
		return ""
	}
	address, err := netip.ParseAddr(text)
	if err != nil {
		d.sent(path, raw, "an IP address is allowed")
		return ""
	}
	return address.String()
}

// Limits of a list of objects: how many, and the bytes of each.
const (
	maxKeys = 1000
	maxKey  = 1024
)

// keys decodes a list of the keys of objects. An absent one and null have none.
func (d *decoder) keys(path string, raw json.RawMessage) []string {
	switch kindOf(raw) {
	case kindNull:
		return nil
	case kindArray:
	default:
		d.sent(path, raw, "a list of texts is allowed")
		return nil
	}
	var list []json.RawMessage
	if err := json.Unmarshal(raw, &list); err != nil { // it was checked with the body that it came in
		panic(fmt.Errorf("httpapi: decode a checked list: %w", err))
	}
	if len(list) > maxKeys {
		d.problem(path, fmt.Sprintf("a list of %d was sent, at most %d are allowed", len(list), maxKeys))
		return nil
	}
	var keys []string
	for i, one := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		switch text := d.anyText(at, one); {
		case kindOf(one) == kindNull:
			d.sent(at, one, "a text is allowed")
		case len(text) > maxKey:
			d.problem(at, fmt.Sprintf("a text of %d bytes was sent, at most %d are allowed", len(text), maxKey))
		default:
			keys = append(keys, text)
		}
	}
	return keys
}

// walltime decodes HH:MM:SS; the hours may have one digit or more than two. 0 for an absent one.
func (d *decoder) walltime(path string, raw json.RawMessage) time.Duration {
	text := d.word(path, raw)
	if text == "" {
		return 0
	}
	limit, ok := parseWalltime(text)
	if !ok {
		d.sent(path, raw, "a time above 00:00:00 as HH:MM:SS is allowed")
	}
	return limit
}

// maxHourDigits keeps a walltime far from the largest time.Duration.
const maxHourDigits = 6

func parseWalltime(text string) (time.Duration, bool) {
	parts := strings.Split(text, ":")
	if len(parts) != 3 || len(parts[0]) > maxHourDigits || len(parts[1]) != 2 || len(parts[2]) != 2 {
		return 0, false
	}
	var limit time.Duration
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 32) // takes no sign
		if err != nil || i > 0 && n > 59 {
			return 0, false
		}
		limit = limit*60 + time.Duration(n)
	}
	return limit * time.Second, limit > 0
}

// geometry checks WIDTHxHEIGHT, which one client sends with commas between thousands, and returns it as it came.
func (d *decoder) geometry(path string, raw json.RawMessage) string {
	text := d.word(path, raw)
	if text == "" {
		return ""
	}
	width, height, found := strings.Cut(text, "x")
	if !found || !pixels(width) || !pixels(height) {
		d.sent(path, raw, "WIDTHxHEIGHT in pixels is allowed, for example 1920x1080")
	}
	return text
}

func pixels(text string) bool {
	n, err := strconv.ParseUint(strings.ReplaceAll(text, ",", ""), 10, 16)
	return err == nil && n > 0
}

// accountName decodes the name of a user or group of a system.
func (d *decoder) accountName(path string, raw json.RawMessage, fallback string) string {
	name := cmp.Or(d.word(path, raw), fallback)
	if name == "root" || !validAccount(name) {
		d.sent(path, raw, "up to 32 of a-z A-Z 0-9 _ . - are allowed, a letter or _ first, and not root")
	}
	return name
}

func validAccount(name string) bool {
	const maxAccount = 32
	if len(name) > maxAccount || !isLetter(name[0]) {
		return false
	}
	return !slices.ContainsFunc([]byte(name), func(b byte) bool {
		return !isLetter(b) && (b < '0' || b > '9') && b != '.' && b != '-'
	})
}

func isLetter(b byte) bool { return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b == '_' }

package appdef

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Limits of a JSON text.
const (
	maxDepth  = 64
	maxValues = 100_000
)

// kind is the kind of a JSON value, as people call it.
type kind string

const (
	kindNull   kind = "null"
	kindBool   kind = "a boolean"
	kindNumber kind = "a number"
	kindText   kind = "a text"
	kindList   kind = "a list"
	kindObject kind = "an object"
)

// value is a JSON value that keeps the order of keys and the spelling of numbers, which the maps of encoding/json do not.
type value struct {
	kind kind
	// raw is the value as it stands in the text.
	raw []byte
	// members are those of an object. A key that comes twice stands where it came first and has the last value.
	members []member
	index   map[string]int
	items   []value
}

type member struct {
	key string
	value
}

// get returns a member of an object. One that is null counts as absent.
func (v value) get(key string) (value, bool) {
	i, ok := v.index[key]
	if !ok || v.members[i].kind == kindNull {
		return value{}, false
	}
	return v.members[i].value, true
}

// scalar returns a text, number or boolean as text; false for what is none.
func (v value) scalar() (string, bool) {
	switch v.kind {
	case kindText:
		return unquote(v.raw), true
	case kindNumber, kindBool:
		return string(v.raw), true
	default:
		return "", false
	}
}

// String shows the value for people, shortened; of lists and objects only the kind.
func (v value) String() string {
	switch v.kind {
	case kindText:
		return quote(unquote(v.raw))
	case kindList, kindObject:
		return string(v.kind)
	default:
		return shorten(string(v.raw))
	}
}

// parseJSON reads one JSON value. The error is a sentence for people without the place.
func parseJSON(source []byte) (value, error) {
	switch {
	case !utf8.Valid(source):
		return value{}, errors.New("is not valid UTF-8")
	case !json.Valid(source):
		var ignored json.RawMessage
		return value{}, notJSON(source, json.Unmarshal(source, &ignored))
	}
	p := parser{source: source}
	return p.value(1)
}

// notJSON says where the text stops being JSON. Clients send files with their newlines taken out, so a line number alone tells little.
func notJSON(source []byte, err error) error {
	syntax, ok := errors.AsType[*json.SyntaxError](err)
	if !ok {
		return errors.New("is not JSON")
	}
	before := string(source[:min(int(syntax.Offset), len(source))])
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:])
	const shown = 40
	tail := []rune(before)
	tail = tail[max(0, len(tail)-shown):]
	return fmt.Errorf("is not JSON: line %d, column %d: %w, at the end of %q", line, column, err, string(tail))
}

// parser walks through a text that is known to be valid JSON.
type parser struct {
	source []byte
	at     int
	values int
}

func (p *parser) value(depth int) (value, error) {
	if p.values++; depth > maxDepth || p.values > maxValues {
		return value{}, fmt.Errorf("is too large: at most %d values are allowed, and at most %d inside each other", maxValues, maxDepth)
	}
	p.skipSpace()
	start := p.at
	v, err := value{}, error(nil)
	switch p.source[p.at] {
	case '{':
		v, err = p.object(depth)
	case '[':
		v, err = p.list(depth)
	case '"':
		v.kind = kindText
		p.skipString()
	case 't', 'f':
		v.kind = kindBool
		p.skipLiteral()
	case 'n':
		v.kind = kindNull
		p.skipLiteral()
	default:
		v.kind = kindNumber
		p.skipLiteral()
	}
	v.raw = p.source[start:p.at:p.at]
	return v, err
}

func (p *parser) object(depth int) (value, error) {
	v := value{kind: kindObject, index: map[string]int{}}
	for p.at++; p.more('}'); {
		start := p.at
		p.skipString()
		key := unquote(p.source[start:p.at])
		p.skipSpace()
		p.at++ // the colon
		inner, err := p.value(depth + 1)
		if err != nil {
			return value{}, err
		}
		if i, ok := v.index[key]; ok {
			v.members[i].value = inner
			continue
		}
		v.index[key] = len(v.members)
		v.members = append(v.members, member{key, inner})
	}
	return v, nil
}

func (p *parser) list(depth int) (value, error) {
	v := value{kind: kindList}
	for p.at++; p.more(']'); {
		inner, err := p.value(depth + 1)
		if err != nil {
			return value{}, err
		}
		v.items = append(v.items, inner)
	}
	return v, nil
}

// more goes to the next member or item, or behind the end, and says which.
func (p *parser) more(end byte) bool {
	p.skipSpace()
	if p.source[p.at] == ',' {
		p.at++
		p.skipSpace()
	}
	if p.source[p.at] == end {
		p.at++
		return false
	}
	return true
}

func (p *parser) skipSpace() {
	for strings.IndexByte(" \t\r\n", p.source[p.at]) >= 0 {
		p.at++
	}
}

func (p *parser) skipString() {
	for p.at++; p.source[p.at] != '"'; p.at++ {
		if p.source[p.at] == '\\' {
			p.at++
		}
	}
	p.at++
}

func (p *parser) skipLiteral() {
	for p.at < len(p.source) && strings.IndexByte(" \t\r\n,]}", p.source[p.at]) < 0 {
		p.at++
	}
}

// unquote returns the text of a valid JSON string.
func unquote(raw []byte) string {
	plain := string(raw[1 : len(raw)-1])
	if !strings.Contains(plain, `\`) {
		return plain
	}
	var decoded string
	if err := json.Unmarshal(raw, &decoded); err != nil { // it was checked with the text that it came in
		panic(fmt.Errorf("appdef: decode a checked string: %w", err))
	}
	return decoded
}

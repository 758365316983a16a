package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// jsonKind is the kind of a JSON value.
type jsonKind string

const (
	kindNull   jsonKind = "null"
	kindObject jsonKind = "an object"
	kindArray  jsonKind = "a list"
	kindText   jsonKind = "a text"
	kindNumber jsonKind = "a number"
	kindBool   jsonKind = "true or false"
)

// kindOf returns the kind of a valid JSON value. An absent one counts as null.
func kindOf(raw json.RawMessage) jsonKind {
	if len(raw) == 0 {
		return kindNull
	}
	switch raw[0] {
	case '{':
		return kindObject
	case '[':
		return kindArray
	case '"':
		return kindText
	case 't', 'f':
		return kindBool
	case 'n':
		return kindNull
	default:
		return kindNumber
	}
}

// decodeText returns the text of a valid JSON string.
func decodeText(raw json.RawMessage) string {
	plain := raw[1 : len(raw)-1]
	if bytes.IndexByte(plain, '\\') < 0 {
		return string(plain)
	}
	var text string
	if err := json.Unmarshal(raw, &text); err != nil { // it was checked with the body that it came in
		panic(fmt.Errorf("httpapi: decode a checked string: %w", err))
	}
	return text
}

// notJSON says for people why a body is no JSON object.
func notJSON(err error) string {
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Sprintf("is not JSON: %s (byte %d)", syntax.Error(), syntax.Offset)
	}
	return "is not a JSON object"
}

// quoteLimit bounds how much of what was sent an answer repeats, in characters.
const quoteLimit = 60

// quote shows a text that was sent, shortened and without control characters.
func quote(text string) string {
	if utf8.RuneCountInString(text) > quoteLimit {
		return strconv.Quote(string([]rune(text[:min(len(text), 4*quoteLimit)])[:quoteLimit])) + "…"
	}
	return strconv.Quote(text)
}

// quoteSent shows a JSON value that was sent. Of large ones and of secrets only the kind is shown.
func quoteSent(name string, raw json.RawMessage) string {
	kind := kindOf(raw)
	switch {
	case kind == kindNull:
		return "null"
	case isSecret(name), kind == kindObject, kind == kindArray:
		return string(kind)
	case kind == kindText:
		return quote(decodeText(raw))
	case len(raw) > quoteLimit:
		return string(raw[:quoteLimit]) + "…"
	default:
		return string(raw)
	}
}

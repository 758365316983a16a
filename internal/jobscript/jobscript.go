// Package jobscript reads the job script of a submission: clients send a shell line, a script of several lines, or the base64 of
// either, and do not say which.
package jobscript

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Why a script is refused. The texts are made for the person who sent it.
var (
	// ErrEmpty: there is nothing to run.
	ErrEmpty = errors.New("the script is empty")
	// ErrNUL: no shell can read it.
	ErrNUL = errors.New("the script holds a NUL byte")
	// ErrNotUTF8: the text, or what its base64 stands for, is no text.
	ErrNotUTF8 = errors.New("the script is not valid UTF-8")
)

const (
	shebang       = "#!"
	byteOrderMark = "\ufeff"
	// minBase64Line is the shortest line that encoders break base64 into (64 and 76 are customary).
	minBase64Line = 60
)

// Decode returns the text of the script to run: base64 is decoded when s is certainly base64 of a script, otherwise s is the text
// itself. Line ends of Windows and the doubled newlines of one client are repaired. The script starts with "#!" when it names its
// interpreter; all others are for /bin/sh. The error is ErrEmpty, ErrNUL or ErrNotUTF8.
func Decode(s string) (script string, err error) {
	text := s
	if decoded, ok := fromBase64(s); ok {
		text = decoded
	}
	switch {
	case strings.ContainsRune(text, 0):
		return "", ErrNUL
	case !utf8.ValidString(text):
		return "", ErrNotUTF8
	}
	text = strings.TrimPrefix(text, byteOrderMark)
	if strings.TrimSpace(text) == "" {
		return "", ErrEmpty
	}
	return single(unixLines(text)), nil
}

// fromBase64 decodes s when it is strict base64 of something that looks like a script. Many command names are valid base64 too
// ("file", "envsubst"), so what comes out must be text that says more than one word; or the padding must have given it away.
func fromBase64(s string) (string, bool) {
	packed, ok := joinLines(strings.TrimSpace(s))
	if !ok {
		return "", false
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(packed)
	if err != nil || !utf8.Valid(raw) {
		return "", false
	}
	decoded := string(raw)
	if strings.HasPrefix(strings.TrimPrefix(decoded, byteOrderMark), shebang) {
		return decoded, true
	}
	if strings.ContainsFunc(decoded, unprintable) {
		return "", false
	}
	return decoded, strings.ContainsAny(decoded, " \n") || strings.HasSuffix(packed, "=")
}

// joinLines undoes the line breaks of base64 as encoders make them: all lines but the last are long and equally long.
func joinLines(s string) (string, bool) {
	if !strings.ContainsAny(s, "\r\n") {
		return s, true
	}
	lines := strings.Split(unixLines(s), "\n")
	width := len(lines[0])
	for _, line := range lines[:len(lines)-1] {
		if len(line) != width || width < minBase64Line {
			return "", false
		}
	}
	return strings.Join(lines, ""), len(lines[len(lines)-1]) <= width
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) && !strings.ContainsRune("\n\r\t", r) }

// unixLines replaces line ends of Windows when all line ends are of that kind: a script that writes some itself keeps them.
func unixLines(text string) string {
	if strings.Count(text, "\r\n") != strings.Count(text, "\n") {
		return text
	}
	return strings.ReplaceAll(text, "\r\n", "\n")
}

// single halves the newlines of a script whose every line end was doubled on its way. Nobody can tell that from blank lines that
// the author wrote, except where a doubled newline cuts a command that goes on in the next line: only then it matters, and only
// then it is repaired.
func single(text string) string {
	if !strings.HasPrefix(text, shebang) || !strings.Contains(text, "\\\n\n") {
		return text
	}
	lines := strings.Split(text, "\n")
	kept := make([]string, 0, len(lines)/2+1)
	for i, line := range lines {
		switch {
		case i%2 == 0:
			kept = append(kept, line)
		case line != "":
			return text
		}
	}
	if len(lines)%2 == 0 { // the last newline was not doubled
		kept = append(kept, "")
	}
	return strings.Join(kept, "\n")
}

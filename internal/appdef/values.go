package appdef

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/berth-hpc/berth/internal/jobscript"
)

const (
	// dataDir is where jobs find their vault, and what relative values of FILE parameters are relative to.
	dataDir = "/data"
	// uploadDir is where uploaded files appear.
	uploadDir = "/opt"
	// defaultUpload limits an upload in bytes when the AppDef does not.
	defaultUpload = 1 << 20
	// maxListed bounds how many allowed values a sentence lists.
	maxListed = 10
)

// absent says that a parameter was not submitted, which null says too.
func (v value) absent() bool { return v.kind == "" || v.kind == kindNull }

// resolve returns what the command gets for a parameter that is neither BOOL nor UPLOAD, "" for nothing at all. The error is a
// sentence that tells what was sent and what is allowed.
func (par *Parameter) resolve(sent value) (string, error) {
	s, shown := par.Default, sent.String()
	if sent.absent() {
		if par.Type == Selection && s == "" && len(par.Values) > 0 {
			s = par.Values[0]
		}
		shown = "the default " + quote(s)
	} else {
		var ok bool
		if s, ok = sent.scalar(); !ok {
			return "", fmt.Errorf("%s is not a text, a number or a boolean", sent)
		}
	}
	switch {
	case s == "":
		return "", nil
	case strings.ContainsRune(s, 0):
		return "", errors.New("the text has a NUL byte")
	}
	switch par.Type {
	case Int, Range:
		return par.whole(s, shown)
	case Float:
		return par.float(s, shown)
	case Selection:
		return par.choice(s, shown)
	case File:
		return filePath(s, shown)
	default:
		return s, nil
	}
}

func (par *Parameter) whole(s, shown string) (string, error) {
	s = strings.TrimSpace(s)
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		const exact = 1 << 53 // the whole numbers below are all there
		f, ok := parseFloat(s)
		if !ok || f != math.Trunc(f) || math.Abs(f) > exact {
			return "", fmt.Errorf("%s is not a whole number", shown)
		}
		n = int64(f)
	}
	return strconv.FormatInt(n, 10), par.within(float64(n), shown)
}

// float returns a number with the decimals that it was written with, as far as they are wanted.
func (par *Parameter) float(s, shown string) (string, error) {
	s = strings.TrimPrefix(strings.TrimSpace(s), "+")
	f, ok := parseFloat(s)
	if !ok {
		return "", fmt.Errorf("%s is not a number", shown)
	}
	if strings.ContainsAny(s, "eE") {
		s = formatFloat(f)
	}
	if integer, decimals, found := strings.Cut(s, "."); found && par.Precision >= 0 && len(decimals) > par.Precision {
		s = integer + strings.TrimSuffix("."+decimals[:par.Precision], ".")
		if strings.Trim(integer, "-") == "" {
			s = strings.Replace(s, integer, integer+"0", 1)
		}
		f, _ = parseFloat(s)
	}
	return s, par.within(f, shown)
}

// within checks the bounds of a number.
func (par *Parameter) within(f float64, shown string) error {
	low, high := math.Inf(-1), math.Inf(1)
	if par.Min != nil {
		low = *par.Min
	}
	if par.Max != nil {
		high = *par.Max
	}
	switch {
	case f >= low && f <= high:
	case par.Max == nil:
		return fmt.Errorf("%s is not %s or more", shown, formatFloat(low))
	case par.Min == nil:
		return fmt.Errorf("%s is not %s or less", shown, formatFloat(high))
	default:
		return fmt.Errorf("%s is not within %s to %s", shown, formatFloat(low), formatFloat(high))
	}
	if par.Step == nil || *par.Step <= 0 {
		return nil
	}
	if par.Min == nil {
		low = 0
	}
	if math.Mod(f-low, *par.Step) != 0 {
		return fmt.Errorf("%s is not %s and a multiple of %s", shown, formatFloat(low), formatFloat(*par.Step))
	}
	return nil
}

func formatFloat(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// choice returns what the command gets for a choice: people send what they see, programs also what the command gets.
func (par *Parameter) choice(s, shown string) (string, error) {
	if len(par.Values) == 0 {
		return s, nil
	}
	if i := slices.Index(par.Values, s); i >= 0 {
		if len(par.MachineValues) > i {
			return par.MachineValues[i], nil
		}
		return s, nil
	}
	if slices.Contains(par.MachineValues, s) {
		return s, nil
	}
	return "", fmt.Errorf("%s is not one of %s", shown, listed(par.Values))
}

// listed names what is allowed.
func listed(allowed []string) string {
	names := make([]string, 0, maxListed)
	for _, name := range allowed[:min(len(allowed), maxListed)] {
		names = append(names, quote(name))
	}
	if more := len(allowed) - len(names); more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names, ", "), more)
	}
	return strings.Join(names, ", ")
}

// filePath returns a path in the vault for one that is relative to it. Absolute ones may lead into the image and are left alone.
func filePath(s, shown string) (string, error) {
	if strings.HasPrefix(s, "/") {
		return s, nil
	}
	joined := path.Join(dataDir, s)
	if joined != dataDir && !strings.HasPrefix(joined, dataDir+"/") {
		return "", fmt.Errorf("%s leads out of %s", shown, dataDir)
	}
	return joined, nil
}

// on returns whether a BOOL is true.
func (par *Parameter) on(sent value) (bool, error) {
	if sent.absent() {
		b, _ := strconv.ParseBool(strings.ToLower(par.Default))
		return b, nil
	}
	b, ok := sent.bool()
	if !ok {
		return false, fmt.Errorf("%s is not true or false", sent)
	}
	return b, nil
}

// upload returns the content of an uploaded file; nil when none was sent.
func (par *Parameter) upload(sent value) ([]byte, error) {
	s, ok := sent.scalar()
	if s == "" && (ok || sent.absent()) {
		return nil, nil
	}
	content, decoded := decodeBase64(s)
	limit := par.Size
	if limit == 0 {
		limit = defaultUpload
	}
	switch {
	case sent.kind != kindText || !decoded:
		return nil, errors.New("the content is not base64")
	case len(content) > limit:
		return nil, fmt.Errorf("the file has %d bytes, at most %d are allowed", len(content), limit)
	}
	return content, nil
}

// decodeBase64 decodes base64 with or without line breaks and padding, of either alphabet.
func decodeBase64(s string) ([]byte, bool) {
	packed := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return -1
		case r == '-':
			return '+'
		case r == '_':
			return '/'
		default:
			return r
		}
	}, s)
	content, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(packed, "="))
	return content, err == nil
}

// validTarget says whether the place of an upload is one below uploadDir.
func validTarget(target string) bool {
	return path.Join(uploadDir, target) != uploadDir && !slices.Contains(strings.Split(target, "/"), "..") && !strings.HasSuffix(target, "/")
}

// decodeScript returns the text of a cmdscript, which may be base64; "" for none.
func decodeScript(script string) (string, error) {
	if script == "" {
		return "", nil
	}
	return jobscript.Decode(script)
}

package appdef

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// harmless are the bytes that no shell gives a meaning to, in any place behind the first word of a command.
const harmless = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:@%+,=-"

func isHarmless(s string) bool { return strings.Trim(s, harmless) == "" }

// shellWord quotes a text so that a POSIX shell reads exactly it, as one word.
func shellWord(s string) string {
	if s != "" && isHarmless(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// expandable makes one word of the shell from a text whose expansions ($NAME, ${NAME}, $(command) and that in backticks) the job's
// shell carries out. They stay inside of the word whatever they are: an expansion is left alive only when it certainly ends where it
// seems to, and a dollar sign of any other is one. Placeholders that lookup knows are replaced by their value, in which nothing is
// expanded. $(NAME) with the name of a variable of the job is its value.
func expandable(s string, variables []Setting, lookup func(string) (string, bool)) (string, error) {
	if !strings.ContainsAny(s, "$`\\") {
		return shellWord(Substitute(s, lookup)), nil
	}
	var out strings.Builder
	out.WriteByte('"')
	for s != "" {
		if name, after, ok := placeholder(s); ok {
			if replacement, known := lookup(name); known {
				out.WriteString(literal(replacement))
				s = after
				continue
			}
		}
		if n := expansion(s); n > 0 {
			live, err := expand(s[:n], variables, lookup)
			if err != nil {
				return "", err
			}
			out.WriteString(live)
			s = s[n:]
			continue
		}
		n := 1
		if s[0] == '\\' && len(s) > 1 && strings.IndexByte("$`\\", s[1]) >= 0 {
			n = 2 // an escape, as the shell reads it
			out.WriteString(s[:n])
		} else {
			out.WriteString(literal(s[:n]))
		}
		s = s[n:]
	}
	out.WriteByte('"')
	return out.String(), nil
}

// literal escapes what has a meaning between double quotes.
func literal(s string) string { return doubleQuoted.Replace(s) }

var doubleQuoted = strings.NewReplacer("$", `\$`, "`", "\\`", `"`, `\"`, `\`, `\\`)

// expand writes one expansion so that its end cannot move. Inside of a command a replaced placeholder would be part of the program,
// so its value must mean nothing to a shell.
func expand(s string, variables []Setting, lookup func(string) (string, bool)) (string, error) {
	if name := s[1:]; identifier(name) == len(name) {
		return "${" + name + "}", nil // so that no text behind it becomes part of the name
	}
	if name, ok := reference(s, variables); ok && len(name)+len("$()") == len(s) {
		return "${" + name + "}", nil
	}
	var err error
	s = Substitute(s, func(name string) (string, bool) {
		replacement, known := lookup(name)
		if known && !isHarmless(replacement) && err == nil {
			err = fmt.Errorf("%%%s%% stands for %s, but inside of %s only letters, digits and _./:@%%+,=- may be put",
				name, quote(replacement), quote(s))
		}
		return replacement, known
	})
	return nested(s, variables), cmp.Or(err, checkNumbers(s, variables))
}

// checkNumbers refuses variables of the job in the place of numbers unless they are some: a shell evaluates what it finds there, and
// some carry out the commands in it.
func checkNumbers(s string, variables []Setting) error {
	for _, reckoning := range reckonings.FindAllString(s, -1) {
		for _, name := range names.FindAllString(reckoning, -1) {
			i := slices.IndexFunc(variables, func(variable Setting) bool { return variable.Key == name })
			if i >= 0 && !number.MatchString(variables[i].Value) {
				return fmt.Errorf("%s stands for %s, but inside of %s only a whole number may be put",
					name, quote(variables[i].Value), quote(reckoning))
			}
		}
	}
	return nil
}

// reference returns the name of the variable of the job that s starts with a reference to, as $(NAME).
func reference(s string, variables []Setting) (string, bool) {
	match := variableReference.FindString(s)
	if match == "" {
		return "", false
	}
	name := match[len("$(") : len(match)-1]
	return name, slices.ContainsFunc(variables, func(variable Setting) bool { return variable.Key == name })
}

// nested writes the inside of an expansion. The double quotes of the author are part of the text. Those around a reference are
// alive: what a user submitted stays one word of the command there, too. Between single quotes nothing is a reference.
func nested(s string, variables []Setting) string {
	var out strings.Builder
	for single := false; s != ""; {
		if name, ok := reference(s, variables); ok && !single {
			out.WriteString(`"${` + name + `}"`)
			s = s[len(name)+len("$()"):]
			continue
		}
		if s[0] == '\'' {
			single = !single
		}
		if s[0] == '"' {
			out.WriteByte('\\')
		}
		out.WriteByte(s[0])
		s = s[1:]
	}
	return out.String()
}

// identifier returns how many bytes at the start of s are the name of a variable.
func identifier(s string) int {
	for i := range len(s) {
		c := s[i]
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return i
		}
	}
	return len(s)
}

var (
	// variableReference matches $(NAME), which may be a command or a variable.
	variableReference = regexp.MustCompile(`^\$\([a-zA-Z_][a-zA-Z0-9_]*\)`)
	// parameterExpansion matches ${NAME} and such with an operator and a plain word.
	parameterExpansion = regexp.MustCompile(`^\$\{[a-zA-Z_][a-zA-Z0-9_]*[a-zA-Z0-9_./:@%+,=* -]*\}`)
	// arithmetic matches $((…)) without brackets inside.
	arithmetic = regexp.MustCompile(`^\$\(\([a-zA-Z0-9_%+*/$ -]*\)\)`)
	// backticks match a command in backticks that has no other quotes than single ones.
	backticks = regexp.MustCompile("^`[a-zA-Z0-9_./:@%+,=~|&;^!<>*?' -]*`")
	// reckonings matches what a shell reckons: the inside of $((…)) and the places of ${NAME:place:length}.
	reckonings = regexp.MustCompile(`\$\(\([^()]*\)\)|:[^-+=?}][^}]*\}`)
	names      = regexp.MustCompile(`[a-zA-Z_][a-zA-Z0-9_]*`)
	number     = regexp.MustCompile(`^-?[0-9]+$`)
	// caseWord is the one reserved word that makes a closing bracket stand without an opening one.
	caseWord = regexp.MustCompile(`\bcase\b`)
)

// inCommand are the bytes that may stand in a command substitution besides expansions and quotes. The others would let a shell see
// its end elsewhere: comments, escapes, brackets of patterns and arrays.
const inCommand = harmless + " \t~|&;^!<>*?\""

// maxExpansion bounds an expansion in bytes, so that a text of nothing but open brackets is not read over and over.
const maxExpansion = 1024

// expansion returns the length of the expansion that s starts with, 0 when there is none or none that is certain.
func expansion(s string) int {
	n := scan(s[:min(len(s), maxExpansion)])
	if strings.HasPrefix(s, "$(") && (caseWord.MatchString(s[:n]) || strings.Contains(s[:n], "<<")) {
		return 0
	}
	return n
}

// scan is expansion without a look at the words in it.
func scan(s string) int {
	switch {
	case strings.HasPrefix(s, "`"):
		return len(backticks.FindString(s))
	case strings.HasPrefix(s, "${"):
		return len(parameterExpansion.FindString(s))
	case strings.HasPrefix(s, "$(("):
		return len(arithmetic.FindString(s))
	case strings.HasPrefix(s, "$("):
		return commandSubstitution(s)
	case strings.HasPrefix(s, "$"):
		if n := identifier(s[1:]); n > 0 {
			return n + 1
		}
	}
	return 0
}

func commandSubstitution(s string) int {
	for i := len("$("); i < len(s); {
		switch c := s[i]; {
		case c == ')':
			return i + 1
		case c == '\'':
			end := strings.IndexByte(s[i+1:], '\'')
			if end < 0 {
				return 0
			}
			i += end + 2
		case c == '$':
			n := scan(s[i:])
			if n == 0 {
				return 0
			}
			i += n
		case strings.IndexByte(inCommand, c) >= 0 || c >= 0x80:
			i++
		default:
			return 0
		}
	}
	return 0
}

// closed says whether arguments can stand behind a piece of shell text: no quote, substitution, comment or line of it is open.
func closed(s string) bool {
	quoted := false // in double quotes
	for s != "" {
		n := closedPiece(s, quoted)
		if n == 0 || n > len(s) || n == len(s) && !quoted && strings.IndexByte(";|&<>", s[0]) >= 0 {
			return false
		}
		if s[0] == '"' {
			quoted = !quoted
		}
		s = s[n:]
	}
	return !quoted
}

// closedPiece returns the length of the character, escape, quotation or expansion that s starts with; 0 when it does not end.
func closedPiece(s string, quoted bool) int {
	switch c := s[0]; {
	case c == '\\':
		return 2
	case c == '$' || c == '`':
		n := expansion(s)
		if n == 0 && (c == '`' || len(s) > 1 && strings.IndexByte(`({'"`, s[1]) >= 0) || strings.Contains(s[:n], `"`) {
			return 0
		}
		return max(n, 1)
	case quoted:
		return 1
	case c == '\'':
		if end := strings.IndexByte(s[1:], '\''); end >= 0 {
			return end + 2
		}
		return 0
	case strings.IndexByte("#(){}[\n", c) >= 0 || strings.HasPrefix(s, "<<"):
		return 0
	default:
		return 1
	}
}

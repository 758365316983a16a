package agent

import "strings"

// isIdentifier says whether a shell can assign to a variable of this name.
func isIdentifier(name string) bool {
	for i := range len(name) {
		c := name[i]
		letter := c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return name != ""
}

// word writes a value for a shell, bare where that is safe: some programs read the file without a shell.
func word(value string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.,:/@%+="
	if strings.Trim(value, plain) == "" {
		return value
	}
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

// doubleQuoted writes a value for a shell in double quotes.
func doubleQuoted(value string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "`", "\\`").Replace(value) + `"`
}

// escaped writes a value for a shell with a backslash before every character, the form that readers of jobenv.sh know.
func escaped(value string) string {
	var text strings.Builder
	for _, r := range value {
		if r == '\n' { // a backslash would join the lines
			text.WriteString("\"\n\"")
			continue
		}
		text.WriteByte('\\')
		text.WriteRune(r)
	}
	return text.String()
}

package client

import (
	"encoding/base64"
	"strings"
)

// EncodeScript returns a script in a form that the server reads as exactly this script. The server takes base64 and plain text,
// and a plain word such as "hostname" is also valid base64; what could be mistaken is sent as base64, the rest as it is.
func EncodeScript(script string) string {
	base64Only := !strings.ContainsFunc(script, func(r rune) bool {
		letter := (r|0x20 >= 'a' && r|0x20 <= 'z') || (r >= '0' && r <= '9')
		return !letter && !strings.ContainsRune("+/=\r\n", r)
	})
	if script == "" || !base64Only {
		return script
	}
	// With a line end the decoded text is recognised as a script whatever its letters are.
	if !strings.HasSuffix(script, "\n") {
		script += "\n"
	}
	return base64.StdEncoding.EncodeToString([]byte(script))
}

// QuoteArgs returns a line for the shell that runs a command with exactly these arguments.
func QuoteArgs(args []string) string {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = quoteArg(arg)
	}
	return strings.Join(quoted, " ")
}

func quoteArg(arg string) string {
	plain := arg != "" && !strings.ContainsFunc(arg, func(r rune) bool {
		letter := (r|0x20 >= 'a' && r|0x20 <= 'z') || (r >= '0' && r <= '9')
		return !letter && !strings.ContainsRune("_-./:,@%+", r)
	})
	if plain {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

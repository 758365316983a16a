package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/term"
)

// maxPassword is more than the server takes for a password, in bytes.
const maxPassword = 4096

// readPassword reads the password of a vault: the first line of stdin, or what a person types at a terminal, who does not see it. With
// again it is asked for twice. Passwords are no arguments: other users of the machine could read those.
func (a *app) readPassword(vault string, again bool) (string, error) {
	screen := terminalOf(a.stdin)
	if screen == nil {
		line, err := bufio.NewReader(io.LimitReader(a.stdin, maxPassword)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		return wholePassword(strings.TrimRight(line, "\r\n"))
	}
	ask := func(what string) (string, error) {
		a.prompt("%s of vault %s: ", what, vault)
		typed, err := term.ReadPassword(int(screen.Fd()))
		a.prompt("\n")
		if err != nil {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		return string(typed), nil
	}
	password, err := ask("password")
	if err == nil && again {
		var second string
		if second, err = ask("once more the password"); err == nil && second != password {
			return "", errors.New("these were two different passwords")
		}
	}
	if err != nil {
		return "", err
	}
	return wholePassword(password)
}

func wholePassword(password string) (string, error) {
	if password == "" {
		return "", hintf(errors.New("there is no password"), "it is the first line of stdin")
	}
	return password, nil
}

// prompt asks on stderr, whatever is shown on stdout.
func (a *app) prompt(format string, args ...any) {
	_, _ = fmt.Fprintf(a.stderr, format, args...)
}

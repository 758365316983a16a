package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// maxPassword is more than the server takes for a password, in bytes.
const maxPassword = 4096

// readPassword reads the password of a vault: the first line of stdin, or what a person types at a terminal, who does not see it. With
// again it is asked for twice. Passwords are no arguments: other users of the machine could read those.
func (a *app) readPassword(vault string, again bool) (string, error) {
	if screen := terminalOf(a.stdin); screen != nil {
		return a.askPassword(screen, "password of vault "+vault, again)
	}
	return passwordLine(a.passwordLines())
}

// readPasswords reads the password of a vault and then the one that it is to have.
func (a *app) readPasswords(vault string) (password, changed string, err error) {
	screen, lines := terminalOf(a.stdin), a.passwordLines()
	if screen != nil {
		password, err = a.askPassword(screen, "password of vault "+vault, false)
	} else {
		password, err = passwordLine(lines)
	}
	switch {
	case err != nil:
	case screen != nil:
		changed, err = a.askPassword(screen, "new password of vault "+vault, true)
	default:
		changed, err = passwordLine(lines)
	}
	return password, changed, err
}

func (a *app) passwordLines() *bufio.Reader {
	return bufio.NewReader(io.LimitReader(a.stdin, maxPassword))
}

func passwordLine(lines *bufio.Reader) (string, error) {
	line, err := lines.ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("reading the password: %w", err)
	}
	return wholePassword(strings.TrimRight(line, "\r\n"))
}

// askPassword has a person type a password at a terminal, twice if again says so.
func (a *app) askPassword(screen *os.File, what string, again bool) (string, error) {
	ask := func(what string) (string, error) {
		a.prompt("%s: ", what)
		typed, err := term.ReadPassword(int(screen.Fd()))
		a.prompt("\n")
		if err != nil {
			return "", fmt.Errorf("reading the password: %w", err)
		}
		return string(typed), nil
	}
	password, err := ask(what)
	if err == nil && again {
		var second string
		if second, err = ask("once more the " + what); err == nil && second != password {
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
		return "", hintf(errors.New("there is no password"), "on stdin it is a line of its own")
	}
	return password, nil
}

// prompt asks on stderr, whatever is shown on stdout.
func (a *app) prompt(format string, args ...any) {
	_, _ = fmt.Fprintf(a.stderr, format, args...)
}

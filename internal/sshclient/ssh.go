package sshclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// exitFailed is what OpenSSH's programs answer when something else went wrong than the command that they ran.
const exitFailed = 255

// programs are what this package is, by the names that they are called by.
var programs = map[string]func(ctx context.Context, args []string) (int, error){"ssh": runSSH, "scp": runSCP, "sftp": runSFTP}

// Programs are their names.
var Programs = []string{"ssh", "scp", "sftp"}

// Main runs one of Programs with its arguments, on the standard streams of this process, and returns its exit code.
func Main(program string, args []string) int {
	code, err := programs[program](context.Background(), args)
	if err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
	}
	return code
}

// runSSH runs a command on another node, or a shell.
func runSSH(ctx context.Context, args []string) (int, error) {
	o := newOptions()
	if err := o.parse(args, sshFlags); err != nil {
		return exitFailed, err
	}
	if len(o.rest) == 0 {
		return exitFailed, fmt.Errorf("%w: ssh [-nTt] [-p port] [-l user] [-i identity] [-o option] [user@]host [command]", errUsage)
	}
	if err := o.setHost(o.rest[0]); err != nil {
		return exitFailed, err
	}
	if err := o.parse(o.rest[1:], sshFlags); err != nil { // OpenSSH takes options behind the host too
		return exitFailed, err
	}
	client, err := connect(ctx, o)
	if err != nil {
		return exitFailed, err
	}
	defer func() { _ = client.Close() }()
	session, err := client.NewSession()
	if err != nil {
		return exitFailed, err
	}
	session.Stdout, session.Stderr = os.Stdout, os.Stderr
	in, err := session.StdinPipe() // the session's own copying would fail when the command ends before it has read all
	if err != nil {
		return exitFailed, err
	}
	restore, err := o.terminal(session)
	if err != nil {
		return exitFailed, err
	}
	defer restore()
	if command := strings.Join(o.rest, " "); command != "" {
		err = session.Start(command)
	} else {
		err = session.Shell()
	}
	if err == nil {
		go o.send(in)
		err = session.Wait()
	}
	return result(err)
}

// send gives the command the standard input of this process.
func (o options) send(to io.WriteCloser) {
	if !o.noInput {
		_, _ = io.Copy(to, os.Stdin)
	}
	_ = to.Close()
}

// result is the exit code of a command on another node, and what went wrong besides.
func result(err error) (int, error) {
	exit, ended := errors.AsType[*ssh.ExitError](err)
	switch {
	case err == nil:
		return 0, nil
	case ended && exit.Signal() == "":
		return exit.ExitStatus(), nil
	case ended:
		return exitFailed, fmt.Errorf("the command was ended by the signal %s", exit.Signal())
	default:
		return exitFailed, err
	}
}

// terminal gives the session a terminal when it shall have one, and makes the own one raw. The function that it returns undoes that.
func (o options) terminal(session *ssh.Session) (restore func(), err error) {
	own := int(os.Stdin.Fd())
	isOwn := term.IsTerminal(own)
	if o.terminals < 0 || o.terminals == 0 && len(o.rest) > 0 || o.terminals < 2 && !isOwn {
		return func() {}, nil
	}
	columns, rows := 80, 24
	if isOwn {
		if columns, rows, err = term.GetSize(own); err != nil {
			return nil, err
		}
	}
	if err := session.RequestPty(os.Getenv("TERM"), rows, columns, ssh.TerminalModes{}); err != nil {
		return nil, err
	}
	if !isOwn {
		return func() {}, nil
	}
	before, err := term.MakeRaw(own)
	if err != nil {
		return nil, err
	}
	resized := make(chan os.Signal, 1)
	signal.Notify(resized, unix.SIGWINCH)
	go func() {
		for range resized {
			if columns, rows, err := term.GetSize(own); err == nil {
				_ = session.WindowChange(rows, columns)
			}
		}
	}()
	return func() { _ = term.Restore(own, before) }, nil
}

// copyFile copies what a reader has, and closes both.
func copyFile(to io.WriteCloser, from io.ReadCloser) error {
	_, err := io.Copy(to, from)
	return errors.Join(err, to.Close(), from.Close())
}

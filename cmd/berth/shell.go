package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/berth-hpc/berth/client"
)

// usualSize is that of a terminal when nobody sees one.
var usualSize = client.TerminalSize{Columns: 80, Rows: 24}

// endOfInput is how somebody at a terminal says that no more comes. Who reads takes it for the end of its own input, or loses it while it
// changes the terminal, as bash does between two commands: it is said again every endAgain.
const (
	endOfInput = "\x04"
	endAgain   = time.Second
)

func (a *app) shellCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "shell JOB",
		Short: "Have a shell in a running job",
		Long: `shell starts the login shell of the job's user in a running job, beside its command, on a terminal. Its exit code is that of the shell. A
command that the AppDef wants on a terminal (webshell) takes the place of the shell: it starts unless it has, and goes on when you leave.

To leave without an end, type ~. at the beginning of a line; ~~ types a ~. When the input is no terminal, its end is the end of the
shell's.`,
		Example: `  berth shell 12
  echo nvidia-smi | berth shell 12`,
		Args:              oneJob,
		ValidArgsFunction: positions(a.completeJobs(false)),
		RunE: a.withJob(func(ctx context.Context, c *client.Client, ref client.Ref, _ []string) error {
			return a.shell(ctx, c, ref)
		}),
	}
}

// shell connects a person to a shell and returns its exit code as an error.
func (a *app) shell(ctx context.Context, c *client.Client, ref client.Ref) error {
	screen := terminalOf(a.stdin)
	shell, err := c.OpenShell(ctx, ref, sizeOf(screen))
	if err != nil {
		return a.notNow(ref, err, "only running jobs have shells: berth status %s", ref)
	}
	defer func() { _ = shell.Close() }()
	left, err := a.talk(ctx, shell, screen)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case left:
		a.note("left job %s", ref)
		return nil
	case err != nil:
		return aboutJob(ref, err)
	}
	return withCode(shell.ExitCode())
}

// talk carries what is typed and shown, until the shell ends or the person has left. The screen is nil when there is none.
func (a *app) talk(ctx context.Context, shell *client.Shell, screen *os.File) (left bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	keyboard := &keyboard{shell: shell, lineBegins: true}
	typing := io.Writer(shell)
	if screen != nil {
		old, err := term.MakeRaw(int(screen.Fd()))
		if err != nil {
			return false, fmt.Errorf("terminal: %w", err)
		}
		defer func() { _ = term.Restore(int(screen.Fd()), old) }()
		defer follow(screen, shell)()
		typing = keyboard
	}
	go func() { // until the input ends: nothing else ends a read of it
		if _, err := io.Copy(typing, a.stdin); err == nil && screen == nil {
			endInput(ctx, shell)
		}
	}()
	_, err = io.Copy(a.stdout, shell)
	return keyboard.left.Load(), err
}

// endInput says that no more comes, until the shell has ended or ctx has.
func endInput(ctx context.Context, shell io.Writer) {
	again := time.NewTicker(endAgain)
	defer again.Stop()
	for {
		if _, err := io.WriteString(shell, endOfInput); err != nil {
			return // who reads the shell is told
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return
		}
	}
}

// terminalOf returns the terminal that an input is, nil for another one.
func terminalOf(input io.Reader) *os.File {
	if file, ok := input.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		return file
	}
	return nil
}

func sizeOf(screen *os.File) client.TerminalSize {
	if screen == nil {
		return usualSize
	}
	columns, rows, err := term.GetSize(int(screen.Fd()))
	if err != nil || columns <= 0 || rows <= 0 {
		return usualSize
	}
	return client.TerminalSize{Columns: columns, Rows: rows}
}

// errLeft ends a copy.
var errLeft = errors.New("left")

// keyboard types into a shell until somebody leaves.
type keyboard struct {
	shell *client.Shell
	// lineBegins says that nothing of a line is typed, and tilde that only that is, and was not passed on.
	lineBegins, tilde bool
	left              atomic.Bool
}

// Write passes on what is typed.
func (k *keyboard) Write(p []byte) (int, error) {
	var typed []byte
	for _, b := range p {
		switch {
		case k.tilde && b == '.':
			k.left.Store(true)
			return 0, errors.Join(errLeft, k.shell.Close())
		case k.tilde:
			k.tilde = false
			typed = append(typed, '~')
			if b == '~' {
				continue
			}
		case k.lineBegins && b == '~':
			k.tilde = true
			k.lineBegins = false
			continue
		}
		k.lineBegins = b == '\r' || b == '\n'
		typed = append(typed, b)
	}
	if _, err := k.shell.Write(typed); err != nil {
		return 0, err
	}
	return len(p), nil
}

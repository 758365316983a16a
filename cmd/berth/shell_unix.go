//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"

	"github.com/berth-hpc/berth/client"
)

// follow tells a shell the new sizes of a terminal, until stop is called.
func follow(screen *os.File, shell *client.Shell) (stop func()) {
	changed := make(chan os.Signal, 1)
	signal.Notify(changed, syscall.SIGWINCH)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range changed {
			_ = shell.Resize(sizeOf(screen)) // who reads the shell hears of errors
		}
	}()
	return func() {
		signal.Stop(changed)
		close(changed)
		<-done
	}
}

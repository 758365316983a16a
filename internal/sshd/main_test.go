package sshd_test

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
)

// TestMain gives programs SIGHUP as they expect it, also when the tests were started by nohup: they inherit that it is ignored, and a
// shell cannot catch what it was started to ignore.
func TestMain(m *testing.M) {
	if signal.Ignored(syscall.SIGHUP) {
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	os.Exit(m.Run())
}

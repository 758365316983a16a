package crashpoint

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestHereKillsAtTheArmedCount(t *testing.T) {
	if os.Getenv("CRASHPOINT_TEST_CHILD") == "1" {
		Here("other")
		Here("point")
		_, _ = os.Stdout.WriteString("once\n")
		Here("point")
		_, _ = os.Stdout.WriteString("not reached\n")
		os.Exit(0)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "CRASHPOINT_TEST_CHILD=1", Env+"=point:2")
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("child ended with %v, want SIGKILL", err)
	}
	if string(out) != "once\n" {
		t.Fatalf("child wrote %q, want it killed at the second time", out)
	}
}

func TestUnarmed(t *testing.T) {
	for _, value := range []string{"", "point", "other:1"} {
		a := parse(value)
		if value == "" && a.reached("point") {
			t.Error("reached without arming")
		}
		if value == "point" && (!a.reached("point") || a.reached("point")) {
			t.Error("a bare name must fire once, at the first time")
		}
		if value == "other:1" && a.reached("point") {
			t.Error("fired at another point")
		}
	}
}

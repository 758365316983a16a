package agent_test

import (
	"bufio"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// openDisplay connects to a server that begins to listen soon.
func (c *container) openDisplay() *agentapi.Display {
	c.t.Helper()
	for deadline := time.Now().Add(tooLong); ; time.Sleep(10 * time.Millisecond) {
		conn, err := c.dial()
		must(c.t, err)
		display, answer, err := agentapi.OpenDisplay(conn)
		must(c.t, err)
		if answer.Error == nil {
			return display
		}
		must(c.t, conn.Close())
		if time.Now().After(deadline) {
			c.t.Fatal(answer.Error)
		}
	}
}

// TestDisplayRequest: the connection becomes one to what listens at the port of the display.
func TestDisplayRequest(t *testing.T) {
	t.Parallel()
	c := started(t, `printf '#!/bin/sh\necho "hello from $(id -un)"; read -r line; echo "got $line"\n' > /data/vnc; chmod 755 /data/vnc
BEGUN; exec nc -l -p 5901 -e /data/vnc`, func(b *bundle) { must(b.t, os.Chmod(b.data, 0o777)) })
	display := c.openDisplay()
	in := bufio.NewReader(display)
	hello, err := in.ReadString('\n')
	must(t, err)
	_, err = fmt.Fprintln(display, "it")
	must(t, err)
	back, err := in.ReadString('\n')
	if hello != "hello from nimbix\n" || back != "got it\n" || err != nil {
		t.Errorf("%q, %q, %v", hello, back, err)
	}
	if _, err := in.ReadByte(); err == nil {
		t.Error("something comes after the end")
	}
	must(t, display.Close())
	if got := c.wait(); got.code != 0 {
		t.Errorf("exit code %d: %s", got.code, got.output)
	}
}

func TestNoDisplay(t *testing.T) {
	t.Parallel()
	c := started(t, "BEGUN; sleep 1000")
	conn, err := c.dial()
	must(t, err)
	defer conn.Close()
	_, answer, err := agentapi.OpenDisplay(conn)
	must(t, err)
	if answer.Error == nil || answer.Error.Code != agentapi.CodeInvalid {
		t.Errorf("answer %+v", answer)
	}
	c.signaled(9)
	c.wait()
}

package agent_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// overriding is a job whose image has a program for signals, /opt/tools/override. It ends with 9 when an action sends it USR1.
func overriding(t *testing.T, program, variable string) *container {
	t.Helper()
	return started(t, "trap 'exit 9' USR1; trap 'echo signaled' TERM TSTP CONT\necho $$ > ~/pid\nBEGUN\nwhile :; do sleep 1000 & wait; done", func(b *bundle) {
		if program != "" {
			b.put("/opt/tools/override", "#!/bin/sh\n"+program)
		}
		b.env = append(b.env, "JARVICE_SIGNAL_OVERRIDE="+variable, "PATH=/nowhere:relative:/etc/passwd:/opt/tools:/bin")
	})
}

// finish ends such a job.
func (c *container) finish() result {
	c.t.Helper()
	c.ask(actionRequest("", "kill -USR1 $(cat ~/pid)"))
	return c.wait()
}

func TestSignalOverride(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		program string
		answer  agentapi.SignalAnswer
		output  string
	}{
		"answers":            {`echo "{\"signal\": $1, \"pid\": 4711, \"more\": true}"`, agentapi.SignalAnswer{Number: 15, PID: 4711}, ""},
		"one argument":       {`echo "{\"signal\": $#, \"pid\": 0, \"error\": null}"`, agentapi.SignalAnswer{Number: 1}, ""},
		"as the job's user":  {`echo "$(id -un) $JOB_LABEL $(pwd)" >&2; echo '{"signal":1,"pid":2}'`, agentapi.SignalAnswer{Number: 1, PID: 2}, "nimbix my label /home/nimbix\n"},
		"by its name":        {`echo '{"signal":1,"pid":2}' > /dev/stdout`, agentapi.SignalAnswer{Number: 1, PID: 2}, ""},
		"leaves a process":   {`sleep 1000 & echo '{"signal":1,"pid":2}'`, agentapi.SignalAnswer{Number: 1, PID: 2}, ""},
		"in another session": {`setsid sh -c 'sleep 1000' & echo '{"signal":1,"pid":2}'`, agentapi.SignalAnswer{Number: 1, PID: 2}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := overriding(t, test.program, "/opt/tools/override")
			answer := c.ask(signalRequest(15))
			if diff := cmp.Diff(agentapi.Answer{Signal: &test.answer}, answer); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if got := c.finish(); got.code != 9 || got.output != test.output {
				t.Errorf("exit code %d, output %q; want 9 and %q: the command itself gets no signal", got.code, got.output, test.output)
			}
		})
	}
}

func TestSignalOverrideFails(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ program, variable, text string }{
		"its error":       {`echo '{"error": "no such partition"}'; exit 1`, "override", "override: no such partition"},
		"error, code 0":   {`echo '{"error": "no such partition"}'`, "override", "override: no such partition"},
		"error object":    {`echo '{"error": {"code": 1}}'`, "override", `override: {"code": 1}`},
		"error unquoted":  {`echo {"error": "no"}; exit 1`, "override", "override: {error: no} (exit code 1)"},
		"exit code":       {`echo '{"signal": 1, "pid": 2}'; exit 3`, "override", `override: {"signal": 1, "pid": 2} (exit code 3)`},
		"signal":          {`kill -SEGV $$`, "override", "override:  (ended by signal 11)"},
		"no process":      {`echo '{"signal": 1}'`, "override", `override: {"signal": 1} (exit code 0)`},
		"no number":       {`echo '{"signal": "1", "pid": 2}'`, "override", `override: {"signal": "1", "pid": 2} (exit code 0)`},
		"no object":       {`echo 20`, "override", "override: 20 (exit code 0)"},
		"two answers":     {`echo '{"signal": 1, "pid": 2}{}'`, "override", `override: {"signal": 1, "pid": 2}{} (exit code 0)`},
		"nothing":         {`exit 0`, "override", "override:  (exit code 0)"},
		"not text":        {`printf '\377\377x'`, "override", "override: \uFFFDx (exit code 0)"},
		"too much":        {`head -c 65536 /dev/zero | tr '\000' x`, "override", "override: " + strings.Repeat("x", 1024) + " (exit code 0)"},
		"not there":       {"", "/opt/tools/override", "/opt/tools/override: no such file or directory"},
		"not in the PATH": {"", "override", "override: override is not in the PATH: no such file or directory"},
		"a directory":     {"", "/opt", "/opt: permission denied"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := overriding(t, test.program, test.variable)
			if diff := cmp.Diff(test.text, c.refused(signalRequest(15), agentapi.CodeFailed)); diff != "" {
				t.Errorf("reason (-want +got):\n%s", diff)
			}
			c.refused(signalRequest(65), agentapi.CodeInvalid)
			if got := c.finish(); got.code != 9 || got.output != "" {
				t.Errorf("exit code %d, output %q; want 9 and nothing", got.code, got.output)
			}
		})
	}
}

// TestSignalOverrideEnds: the program does not outlive the job, whose end it brought about.
func TestSignalOverrideEnds(t *testing.T) {
	t.Parallel()
	c := overriding(t, "trap '' TERM HUP\nkill -USR1 $(cat ~/pid)\nsleep 1000", "override")
	if text := c.refused(signalRequest(15), agentapi.CodeFailed); text != "override:  (ended by signal 9)" {
		t.Errorf("reason is %q", text)
	}
	if got := c.wait(); got.code != 9 {
		t.Errorf("exit code %d; want 9", got.code)
	}
}

func TestPowerOff(t *testing.T) {
	t.Parallel()
	const init = "#!/bin/sh\necho $$ > ~/init\ntrap 'echo down; exit 5' USR2\ntrap 'echo terminated; exit 6' TERM\nBEGUN\nwhile :; do sleep 1000 & wait; done\n"
	const halt = "#!/bin/sh\necho \"poweroff by $(id -un) in $(pwd), $JOB_LABEL\"\nkill -USR2 $(cat ~/init)\n"
	for name, test := range map[string]struct {
		poweroff string
		suspend  bool
		grace    time.Duration
		code     int
		output   string
	}{
		"works":         {halt, false, time.Hour, 5, "poweroff by nimbix in /home/nimbix, my label\ndown\n"},
		"suspended":     {halt, true, time.Hour, 5, "poweroff by nimbix in /home/nimbix, my label\ndown\n"},
		"is missing":    {"", false, time.Hour, 6, "terminated\n"},
		"fails":         {"#!/bin/sh\necho sorry >&2; exit 1\n", false, time.Hour, 6, "sorry\nterminated\n"},
		"is killed":     {"#!/bin/sh\nkill -KILL $$\n", false, time.Hour, 6, "terminated\n"},
		"does nothing":  {"#!/bin/sh\n", false, time.Millisecond, 128 + 9, ""},
		"does not end":  {"#!/bin/sh\ntrap '' TERM\nsleep 1000\n", false, time.Millisecond, 128 + 9, ""},
		"ends too late": {"#!/bin/sh\nsleep 1000 & kill -USR2 $(cat ~/init); wait\n", false, time.Hour, 5, "down\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := started(t, "exec /sbin/init", func(b *bundle) {
				b.spec.Init, b.spec.Grace = true, test.grace
				b.put("/sbin/init", strings.ReplaceAll(init, "BEGUN", "echo > /data/up"))
				b.put("/bin/poweroff", test.poweroff)
				if test.poweroff == "" {
					b.remove("/bin/poweroff")
				}
			})
			if test.suspend {
				c.signaled(19)
			}
			c.signal("TERM")
			if got := c.wait(); got.code != test.code || got.output != test.output {
				t.Errorf("exit code %d, output %q; want %d and %q", got.code, got.output, test.code, test.output)
			}
		})
	}
}

package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/berth-hpc/berth/client"
)

func TestClean(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"plain": "plain", " a\nb\tc \r": "a b c", "\x1b[2J": "\uFFFD[2J", "\xff": "\uFFFD", "žluť": "žluť", "a\u202Eb": "a\uFFFDb",
	} {
		if got := clean(text); got != want {
			t.Errorf("clean(%q) is %q, want %q", text, got, want)
		}
	}
}

func TestSummary(t *testing.T) {
	t.Parallel()
	started := time.Date(2026, 10, 6, 10, 0, 0, 0, time.UTC)
	for want, job := range map[string]client.Job{
		"job 1: TERMINATED: terminated by root, after 26:00:01": {
			Status: client.StatusTerminated, Started: started, Ended: started.Add(26*time.Hour + time.Second),
			End: &client.End{Reason: "terminated", ExitCode: 137, By: "root"},
		},
		"job 1: TERMINATED: its walltime was over, after 00:01:00": {
			Status: client.StatusTerminated, Started: started, WalltimeSeconds: 60.9, End: &client.End{Reason: "walltime", By: "walltime limit"},
		},
		"job 1: COMPLETED: shut down by ada; the command ended with code 143": {
			Status: client.StatusCompleted, End: &client.End{Reason: "shutdown", ExitCode: 143, By: "ada"},
		},
		"job 1: COMPLETED WITH ERROR: signal 11 ended the command": {
			Status: client.StatusFailed, End: &client.End{Reason: "signaled", ExitCode: 139, Signal: 11},
		},
		"job 1: COMPLETED WITH ERROR: the machine type's memory was used up, and the kernel ended the command: 4 GB": {
			Status: client.StatusFailed, End: &client.End{Reason: "out-of-memory", ExitCode: 137, Detail: "4 GB"},
		},
		"job 1: COMPLETED WITH ERROR: how it ended could not be learned": {Status: client.StatusFailed, End: &client.End{Reason: "lost"}},
		"job 1: COMPLETED WITH ERROR: one of its nodes failed: node b ended": {
			Status: client.StatusFailed, End: &client.End{Reason: "node-failed", Detail: "node b ended"},
		},
		"job 1: COMPLETED WITH ERROR: not all of its data was copied to the vault: a": {
			Status: client.StatusFailed, End: &client.End{Reason: "not-saved", Detail: "a"},
		},
		"job 1: CANCELED: it could not be started: no such image": {Status: client.StatusCanceled, End: &client.End{Reason: "refused", Detail: "no such image"}},
		"job 1: CANCELED: canceled before it ran by ada":          {Status: client.StatusCanceled, End: &client.End{Reason: "canceled", By: "ada"}},
		"job 1: CANCELED: something new":                          {Status: client.StatusCanceled, End: &client.End{Reason: "something new"}},
		"job 1: CANCELED":                                         {Status: client.StatusCanceled},
	} {
		job.Number = 1
		check(t, want, summary(job))
	}
}

func TestLastLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789abcdef\n", 300_000) // is trimmed several times on the way
	for name, tc := range map[string]struct {
		text  string
		lines int
		want  string
	}{
		"some":             {"1\n2\n3\n", 2, "2\n3\n"},
		"all":              {"1\n2\n", 5, "1\n2\n"},
		"open last line":   {"1\n2\n3", 2, "2\n3"},
		"empty lines":      {"1\n\n\n", 2, "\n\n"},
		"nothing":          {"", 2, ""},
		"only a line end":  {"\n", 1, "\n"},
		"long":             {long + "end\n", 2, "0123456789abcdef\nend\n"},
		"one endless line": {strings.Repeat("x", 3<<20), 1, strings.Repeat("x", 3<<20)},
	} {
		got, err := lastLines(strings.NewReader(tc.text), tc.lines)
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: %d bytes, error %v", name, len(got), err)
		}
	}
	if _, err := lastLines(io.MultiReader(strings.NewReader("x"), iotest.ErrReader(io.ErrClosedPipe)), 1); err == nil {
		t.Error("an error of the reader got lost")
	}
}

func TestNoticeWithoutTerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	now := testNow
	n := &notice{w: &out, now: func() time.Time { return now }}
	n.update("pull", "1 of 3")
	n.update("pull", "1 of 3")
	n.update("pull", "2 of 3") // too soon
	now = now.Add(noticeInterval)
	n.update("pull", "3 of 3")
	n.update("start", "starting") // about something else
	n.line("started")
	n.close()
	check(t, "1 of 3\n3 of 3\nstarting\nstarted\n", out.String())
}

func TestNoticeOnATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	n := &notice{w: &out, terminal: true, now: func() time.Time { return testNow }}
	n.update("pull", "1 of 3")
	n.update("pull", "1 of 3")
	n.update("pull", "2\x1b of 3")
	if _, err := n.before(&out).Write([]byte("output\n")); err != nil {
		t.Fatal(err)
	}
	n.line("started")
	n.close()
	check(t, "\r\x1b[K1 of 3\r\x1b[K2\uFFFD of 3\r\x1b[Koutput\nstarted\n", out.String())
}

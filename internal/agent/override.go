package agent

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
)

const (
	// overrideTime is how long the program for signals may take: what it did has to be told before the server stops to listen.
	overrideTime = agentapi.AnswerWithin - 2*time.Second
	// overrideOutput is what it may write: no more than a pipe holds, so that nobody needs to read before its end.
	overrideOutput = 64 << 10
	// maxComplaint bounds what is told of a program's failure.
	maxComplaint = 1 << 10
)

// override lets the image's program for signals do the work, and returns what it answers.
func (c *control) override(program string, number int) agentapi.Answer {
	var ends [2]int
	if err := unix.Pipe2(ends[:], unix.O_CLOEXEC); err != nil {
		return refusal(agentapi.CodeFailed, fmt.Errorf("pipe: %w", err))
	}
	defer func() { _ = unix.Close(ends[0]) }()
	// The program may open it anew by /dev/stdout.
	if err := unix.Fchown(ends[1], c.supervisor.command.uid, c.supervisor.command.gid); err != nil {
		_ = unix.Close(ends[1])
		return refusal(agentapi.CodeFailed, fmt.Errorf("pipe: %w", err))
	}
	ended := make(chan unix.WaitStatus, 1)
	pid := 0
	started := c.ask(func() agentapi.Answer {
		argv := []string{program, strconv.Itoa(number)}
		var err error
		if pid, err = c.supervisor.launch(argv, ends[1], func(status unix.WaitStatus) { ended <- status }); err != nil {
			return refusal(agentapi.CodeFailed, fmt.Errorf("%s: %w", program, err))
		}
		return agentapi.Answer{}
	})
	_ = unix.Close(ends[1])
	if started.Error != nil {
		return started
	}
	status, err := c.await(pid, ended)
	if err != nil {
		return refusal(agentapi.CodeFailed, fmt.Errorf("%s: %w", program, err))
	}
	text, err := readWaiting(ends[0], overrideOutput)
	if err != nil {
		return refusal(agentapi.CodeFailed, fmt.Errorf("%s: %w", program, err))
	}
	return overrideAnswer(program, text, status)
}

var errTooLate = fmt.Errorf("it did not end within %v", overrideTime)

// await returns the end of a program, which is killed when it takes too long. All programs end with the command.
func (c *control) await(pid int, ended <-chan unix.WaitStatus) (unix.WaitStatus, error) {
	timer := time.NewTimer(overrideTime)
	defer timer.Stop()
	select {
	case status := <-ended:
		return status, nil
	case <-timer.C:
		c.supervisor.do(func() { c.supervisor.endHelper(pid) })
		<-ended
		return 0, errTooLate
	}
}

// readWaiting returns what is in a pipe now.
func readWaiting(fd, limit int) ([]byte, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	text := make([]byte, limit)
	for length := 0; ; {
		n, err := unix.Read(fd, text[length:])
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN): // a process that it has left behind could write more
			return text[:length], nil
		case err != nil:
			return nil, fmt.Errorf("read its output: %w", err)
		case n == 0:
			return text[:length], nil
		}
		length += max(0, n)
	}
}

// overrideAnswer makes the answer of what the program wrote: an object with signal and pid, or with error.
func overrideAnswer(program string, text []byte, status unix.WaitStatus) agentapi.Answer {
	var said struct {
		Signal *int             `json:"signal"`
		PID    *int             `json:"pid"`
		Error  *json.RawMessage `json:"error"`
	}
	err := json.Unmarshal(text, &said)
	switch {
	case err == nil && said.Error != nil:
		return refusal(agentapi.CodeFailed, fmt.Errorf("%s: %s", program, complaint(*said.Error)))
	case status != 0, err != nil, said.Signal == nil, said.PID == nil:
		return refusal(agentapi.CodeFailed, fmt.Errorf("%s: %s (%s)", program, complaint(text), describe(status)))
	default:
		return agentapi.Answer{Signal: &agentapi.SignalAnswer{Number: *said.Signal, PID: *said.PID}}
	}
}

// complaint is what a program said, for people.
func complaint(text []byte) string {
	var quoted string
	if json.Unmarshal(text, &quoted) == nil {
		text = []byte(quoted)
	}
	text = bytes.TrimSpace(text)
	return strings.ToValidUTF8(string(text[:min(len(text), maxComplaint)]), "\uFFFD")
}

func describe(status unix.WaitStatus) string {
	if status.Signaled() {
		return fmt.Sprintf("ended by signal %d", status.Signal())
	}
	return fmt.Sprintf("exit code %d", status.ExitStatus())
}

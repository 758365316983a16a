package fake

import (
	"math"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth"
)

// program is a job script as far as the fake understands shell: lines with one command each, which is one of
//
//	echo WORDS      sleep SECONDS [& wait]      exit CODE      kill -KILL $$      true      false
//	trap 'exit CODE' SIGNALS      trap 'echo WORDS' SIGNALS      trap '' SIGNALS
//	tail /dev/zero (with "# fake: oom")      yes >/dev/null
//
// Anything else ends it with code 127, as a shell does with a command that it does not find.
type program struct {
	lines []string
	// asked are the words of its "# fake:" comments.
	asked map[string]bool
}

func parse(script string) program {
	p := program{asked: make(map[string]bool)}
	for line := range strings.Lines(script) {
		line, comment, _ := strings.Cut(strings.TrimSpace(line), "#")
		if words, ok := strings.CutPrefix(strings.TrimSpace(comment), "fake:"); ok {
			for word := range strings.FieldsSeq(words) {
				p.asked[word] = true
			}
		}
		if line = strings.TrimSpace(line); line != "" {
			p.lines = append(p.lines, line)
		}
	}
	return p
}

func (p program) wants(word string) bool { return p.asked[word] }

// run follows the program and returns how it ended.
func (p program) run(a *attempt) berth.Exit {
	exit := p.follow(a)
	switch {
	case p.wants("unknown-exit"):
		return berth.Exit{}
	case p.wants("oom"):
		exit = killedBy(unix.SIGKILL)
		exit.OutOfMemory = true
	}
	return exit
}

func (p program) follow(a *attempt) berth.Exit {
	proc := &process{attempt: a, traps: make(map[unix.Signal]string), term: a.term}
	code := 0
	for _, line := range p.lines {
		command, rest, _ := strings.Cut(line, " ")
		if command == "trap" { // no signal comes before it: who has started the program need not wait until it has begun
			proc.trap(rest)
			continue
		}
		if exit, ended := proc.sleep(0); ended {
			return exit
		}
		switch command {
		case "echo":
			if err := a.print(rest + "\n"); err != nil {
				return berth.Exit{}
			}
		case "sleep", "yes":
			if exit, ended := proc.sleep(seconds(rest)); ended {
				return exit
			}
		case "exit":
			return exited(number(rest))
		case "kill":
			return killedBy(unix.SIGKILL)
		case "true", "tail":
			code = 0
		case "false":
			code = 1
		default:
			return exited(notFound)
		}
	}
	return exited(code)
}

// beside follows the program as an action: it knows echo and sleep, and ends with the attempt at the latest.
func (p program) beside(a *attempt) {
	for _, line := range p.lines {
		command, rest, _ := strings.Cut(line, " ")
		switch command {
		case "echo":
			if err := a.print(rest + "\n"); err != nil {
				return
			}
		case "sleep":
			timer := time.NewTimer(seconds(rest))
			select {
			case <-timer.C:
			case <-a.over:
				timer.Stop()
				return
			}
		default:
			return
		}
	}
}

// notFound is a shell's exit code when there is no such command.
const notFound = 127

// seconds reads the argument of sleep, which may be followed by "& wait". Anything else is for ever.
func seconds(text string) time.Duration {
	text, _, _ = strings.Cut(text, "&")
	n, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil {
		return math.MaxInt64
	}
	return time.Duration(n * float64(time.Second))
}

func number(text string) int {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return notFound
	}
	return n
}

package agent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestSuspend: the kernel would not stop an orphaned process group by signal 20.
func TestSuspend(t *testing.T) {
	t.Parallel()
	for _, number := range []int{20, 19, 21, 22} {
		t.Run(strconv.Itoa(number), func(t *testing.T) {
			t.Parallel()
			c := started(t, "sh -c 'BEGUN; while :; do :; done' & wait")
			c.signaled(number)
			c.awaitProcesses("suspended", func(all []process) bool {
				return !slices.ContainsFunc(all, func(p process) bool { return p.state != "T" })
			})
			before := cpu(c.processes())
			time.Sleep(100 * time.Millisecond) // in which a loop that is not stopped computes
			if after := cpu(c.processes()); after != before {
				t.Errorf("the suspended job has computed for %d ticks", after-before)
			}
			c.signaled(18)
			c.awaitProcesses("computing", func(all []process) bool { return cpu(all) > before })
			c.signaled(number)
			c.signal("TERM")
			if got := c.wait(); got.code != 128+15 {
				t.Errorf("exit code %d; want that of SIGTERM: a suspended job can be stopped", got.code)
			}
		})
	}
}

// process is one of the job's, not the agent.
type process struct {
	pid, state string
	ticks      int
}

func (c *container) processes() []process {
	c.t.Helper()
	text, err := exec.Command("runc", "--root", c.state, "ps", "--format", "json", c.id).Output()
	must(c.t, err)
	var pids []int
	must(c.t, json.Unmarshal(text, &pids))
	var all []process
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
			continue // it has ended in between
		}
		must(c.t, err)
		name, rest, _ := strings.Cut(string(text), ") ")
		if strings.HasSuffix(name, "(berth-init") {
			continue
		}
		fields := strings.Fields(rest)
		user, errUser := strconv.Atoi(fields[11])
		system, errSystem := strconv.Atoi(fields[12])
		must(c.t, errUser, errSystem)
		all = append(all, process{pid: strconv.Itoa(pid), state: fields[0], ticks: user + system})
	}
	return all
}

func cpu(all []process) int {
	sum := 0
	for _, p := range all {
		sum += p.ticks
	}
	return sum
}

// awaitProcesses waits until the job's processes are as they should be.
func (c *container) awaitProcesses(what string, are func([]process) bool) {
	c.t.Helper()
	for deadline := time.Now().Add(tooLong); !are(c.processes()); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("the job's processes are not %s: %+v", what, c.processes())
		}
	}
}

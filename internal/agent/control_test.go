package agent_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// dial connects to the agent. The path of a test's directory may be too long for a socket.
func (c *container) dial() (net.Conn, error) {
	dir, err := os.Open(c.dir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	conn, err := net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), agentapi.SocketFile))
	if err != nil {
		return nil, err
	}
	return conn, conn.SetDeadline(time.Now().Add(tooLong))
}

func (c *container) tryAsk(req agentapi.Request) (agentapi.Answer, error) {
	conn, err := c.dial()
	if err != nil {
		return agentapi.Answer{}, err
	}
	defer conn.Close()
	return agentapi.Ask(conn, req)
}

func (c *container) ask(req agentapi.Request) agentapi.Answer {
	c.t.Helper()
	answer, err := c.tryAsk(req)
	must(c.t, err)
	return answer
}

func signalRequest(number int) agentapi.Request {
	return agentapi.Request{Signal: &agentapi.SignalRequest{Number: number}}
}

func actionRequest(name, command string) agentapi.Request {
	return agentapi.Request{Action: &agentapi.ActionRequest{Name: name, Command: command}}
}

// signaled sends a signal that must arrive, and returns which process got it.
func (c *container) signaled(number int) (pid int) {
	c.t.Helper()
	answer := c.ask(signalRequest(number))
	if answer.Signal == nil || answer.Signal.Number != number || answer.Signal.PID < 2 {
		c.t.Fatalf("answer to signal %d: %+v, %v", number, answer.Signal, answer.Error)
	}
	return answer.Signal.PID
}

// refused is a request that must be refused with a code; it returns the reason.
func (c *container) refused(req agentapi.Request, code agentapi.ErrorCode) string {
	c.t.Helper()
	answer := c.ask(req)
	if answer.Error == nil || answer.Error.Code != code {
		c.t.Fatalf("answer is %+v; want the refusal %s", answer, code)
	}
	return answer.Error.Text
}

// put makes a program or a text in the root filesystem.
func (b *bundle) put(name, text string) {
	path := filepath.Join(b.root, name)
	must(b.t, os.MkdirAll(filepath.Dir(path), 0o755))
	_ = os.Remove(path) // not through a link of busybox
	must(b.t, os.WriteFile(path, []byte(text), 0o755))
}

func (b *bundle) remove(name string) { must(b.t, os.Remove(filepath.Join(b.root, name))) }

// started runs a script that tells when it is ready by the word BEGUN.
func started(t *testing.T, script string, change ...func(*bundle)) *container {
	t.Helper()
	b := newBundle(t, strings.ReplaceAll(script, "BEGUN", "echo > /data/up"))
	for _, f := range change {
		f(b)
	}
	up := b.fifo("up")
	c := b.start()
	up()
	return c
}

func TestSignalRequest(t *testing.T) {
	t.Parallel()
	c := started(t, `trap : USR1
echo $$
sh -c 'trap "echo child; exit" USR1; sleep 1000 & BEGUN; wait' &
wait
wait
echo parent`)
	pid := c.signaled(10)
	got := c.wait()
	if want := fmt.Sprintf("%d\nchild\nparent\n", pid); got.output != want || got.code != 0 {
		t.Errorf("exit code %d, output %q; want 0 and %q: the whole process group gets the signal", got.code, got.output, want)
	}
}

// TestSignalIsAnsweredAtTheEnd: the answer comes although its signal ends the job.
func TestSignalIsAnsweredAtTheEnd(t *testing.T) {
	t.Parallel()
	c := started(t, "BEGUN; sleep 1000 & wait")
	c.signaled(9)
	if got := c.wait(); got.code != 128+9 || got.report.Signal != 9 {
		t.Errorf("exit code %d, report %+v; want those of a kill", got.code, got.report)
	}
	if _, err := os.Lstat(filepath.Join(c.dir, agentapi.SocketFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket afterwards: %v; want none", err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	c := started(t, "trap 'exit 9' USR1\nBEGUN\nsleep 1000 & wait")
	for _, number := range []int{-20, 0, 65, 1 << 40} {
		c.refused(signalRequest(number), agentapi.CodeInvalid)
	}
	c.refused(agentapi.Request{}, agentapi.CodeInvalid)
	c.refused(actionRequest("no such action", ""), agentapi.CodeInvalid)
	c.refused(actionRequest("", ""), agentapi.CodeInvalid)
	c.refused(actionRequest("long", strings.Repeat("x", 200<<10)), agentapi.CodeFailed) // no argument can be as long
	c.refused(actionRequest("long", strings.Repeat("x", agentapi.MaxRequest)), agentapi.CodeInvalid)
	for name, text := range map[string]string{
		"garbage":       "GET / HTTP/1.1\r\n\r\n",
		"not an object": "[1]\n",
		"wrong kind":    `{"signal": {"number": "20"}}` + "\n",
		"cut off":       `{"signal": {"num`,
		"huge":          `{"action": {"name": "` + strings.Repeat("x", 4<<20),
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := c.dial()
			must(t, err)
			defer conn.Close()
			if _, err := io.WriteString(conn, text); err == nil { // the agent need not read all of it
				must(t, conn.(*net.UnixConn).CloseWrite())
			}
			var answer agentapi.Answer
			if err := json.NewDecoder(conn).Decode(&answer); err != nil || answer.Error == nil || answer.Error.Code != agentapi.CodeInvalid {
				t.Errorf("answer %+v, %v; want the refusal %s", answer, err, agentapi.CodeInvalid)
			}
		})
	}
	c.signaled(10)
	if got := c.wait(); got.code != 9 || got.output != "" {
		t.Errorf("exit code %d, output %q; want 9: the job does not notice", got.code, got.output)
	}
}

// TestSilentClients: neither the job's end nor another client waits for them. A busy machine may take as long for the job as the agent does to
// give a client up, which tells nothing.
func TestSilentClients(t *testing.T) {
	t.Parallel()
	const givenUp, tries = 9 * time.Second, 3
	for range tries {
		if endsWithSilentClients(t, givenUp) {
			return
		}
	}
	t.Errorf("%d jobs took %s to end beside clients that say nothing", tries, givenUp)
}

// endsWithSilentClients says whether a job ends, within some time, beside clients that say nothing. It checks what they see then.
func endsWithSilentClients(t *testing.T, within time.Duration) bool {
	t.Helper()
	c := started(t, "trap 'exit 9' USR1\nBEGUN\nsleep 1000 & wait")
	began := time.Now()
	silent := make([]net.Conn, 20)
	for i := range silent {
		conn, err := c.dial()
		must(t, err)
		defer conn.Close()
		silent[i] = conn
	}
	_, err := io.WriteString(silent[0], `{"signal": `)
	must(t, err)
	c.signaled(10)
	got := c.wait()
	if got.code != 9 {
		t.Errorf("exit code %d; want 9", got.code)
	}
	if got.report.Ended.Sub(began) > within {
		return false
	}
	for _, conn := range silent {
		if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
			t.Errorf("a client read %d bytes, %v; want its connection closed", n, err)
		}
	}
	return true
}

func TestManyRequests(t *testing.T) {
	t.Parallel()
	const clients, each = 20, 5
	c := started(t, "trap 'exit 9' USR1\nBEGUN\nwhile :; do sleep 1000 & wait; done")
	var wait sync.WaitGroup
	for range clients {
		wait.Go(func() {
			for range each {
				for _, req := range []agentapi.Request{signalRequest(18), actionRequest("", "echo action"), {Info: &agentapi.InfoRequest{}}} {
					if answer, err := c.tryAsk(req); err != nil || answer.Error != nil {
						t.Errorf("answer %+v, %v", answer, err)
					}
				}
			}
		})
	}
	wait.Wait()
	c.awaitProcesses("without actions", func(all []process) bool { return len(all) == 2 })
	c.signaled(10)
	got := c.wait()
	if want := strings.Repeat("action\n", clients*each); got.output != want || got.code != 9 {
		t.Errorf("exit code %d, output %q; want 9 and the line of each action", got.code, got.output)
	}
}

// TestRequestsDuringTheEnd: whatever they hit upon, the job ends as it should, and an answer is never a wrong one.
func TestRequestsDuringTheEnd(t *testing.T) {
	t.Parallel()
	c := started(t, "trap 'exit 9' USR1\nBEGUN\nsleep 1000 & wait")
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for {
				answer, err := c.tryAsk(actionRequest("", "sleep 1000"))
				switch {
				case err != nil: // there is nobody any more
					return
				case answer.Error != nil && answer.Error.Code != agentapi.CodeNotRunning:
					t.Errorf("answer %+v", answer.Error)
					return
				}
			}
		})
	}
	c.signaled(10)
	got := c.wait()
	wait.Wait()
	if got.code != 9 || got.output != "" {
		t.Errorf("exit code %d, output %q; want 9", got.code, got.output)
	}
}

// TestNotRunning: the command has ended, and what it had started may use the grace.
func TestNotRunning(t *testing.T) {
	t.Parallel()
	c := started(t, "(trap 'echo > /data/asked; sleep 1000' TERM; sleep 1000 & BEGUN; wait) &\nwait", func(b *bundle) { b.spec.Grace = time.Hour })
	asked := c.fifo("asked")
	c.signal("TERM")
	asked()
	for deadline := time.Now().Add(tooLong); c.ask(signalRequest(18)).Error == nil; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the command does not end")
		}
	}
	c.refused(signalRequest(20), agentapi.CodeNotRunning)
	c.refused(actionRequest("", "true"), agentapi.CodeNotRunning)
	c.signal("USR1")
	if got := c.wait(); got.code != 128+15 {
		t.Errorf("exit code %d; want %d", got.code, 128+15)
	}
}

func TestSocketIsNotInherited(t *testing.T) {
	t.Parallel()
	got := newBundle(t, "ls -l /proc/self/fd 2>/dev/null | grep -c socket; ls -l /run/berth/agent.sock 2>&1 | grep -c denied").run()
	if got.output != "0\n1\n" {
		t.Errorf("output %q; want no socket, and the agent's out of reach", got.output)
	}
}

func TestStaleSocket(t *testing.T) {
	t.Parallel()
	c := started(t, "BEGUN; sleep 1000 & wait", func(b *bundle) {
		fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
		must(t, err)
		defer syscall.Close(fd)
		dir, err := os.Open(b.dir)
		must(t, err)
		defer dir.Close()
		must(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), agentapi.SocketFile)}))
	})
	info, err := os.Lstat(filepath.Join(c.dir, agentapi.SocketFile))
	must(t, err)
	if info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode of the socket is %v; want 0600", info.Mode())
	}
	c.signaled(9)
	c.wait()
}

func TestNoSocket(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "echo done")
	must(t, os.Mkdir(filepath.Join(b.dir, agentapi.SocketFile), 0o700))
	c := b.start()
	c.awaitLog("cannot be asked")
	if got := c.wait(); got.code != 0 || got.output != "done\n" {
		t.Errorf("exit code %d, output %q; want the job to run", got.code, got.output)
	}
}

func TestInfo(t *testing.T) {
	t.Parallel()
	c := started(t, "BEGUN; sleep 1000 & wait", func(b *bundle) {
		b.put(agentapi.ActionsFile, `{"actions": {"save": {"args": "touch /data/save", "alt": "Saves", "icon": 7}}, "version": 1}`)
		b.put(agentapi.URLFile, "\nhttp://%PUBLICADDR%:8888/\n")
		b.put(agentapi.HelpFile, "<p>Ask&nbsp;us</p>\n")
		b.spec.Nodes[0].Address = "192.0.2.2"
		b.spec.Nodes = append(b.spec.Nodes, agentapi.Node{Name: "another", Address: "192.0.2.1"})
	})
	want := &agentapi.InfoAnswer{
		Address: "192.0.2.2", Actions: map[string]agentapi.Action{"save": {Args: "touch /data/save", Alt: "Saves"}},
		URL: "http://%PUBLICADDR%:8888/", Help: "<p>Ask&nbsp;us</p>\n",
	}
	if diff := cmp.Diff(want, c.ask(agentapi.Request{Info: &agentapi.InfoRequest{}}).Info); diff != "" {
		t.Errorf("info (-want +got):\n%s", diff)
	}
	c.signaled(9)
	c.wait()
}

// TestInfoWithoutTexts: what is too long, or is no text, or lies where the image does not reach, is left out.
func TestInfoWithoutTexts(t *testing.T) {
	t.Parallel()
	c := started(t, "BEGUN; sleep 1000 & wait", func(b *bundle) {
		b.put(agentapi.URLFile, strings.Repeat("x", agentapi.MaxURL+1))
		b.put(agentapi.HelpFile, "\xff")
	})
	info := c.ask(agentapi.Request{Info: &agentapi.InfoRequest{}}).Info
	if info.URL != "" || info.Help != "" {
		t.Errorf("url %.20q, help %q; want none", info.URL, info.Help)
	}
	c.signaled(9)
	c.wait()
}

func TestActions(t *testing.T) {
	t.Parallel()
	c := started(t, "echo job\ntrap 'exit 3' USR1\nBEGUN\nsleep 1000 & wait", func(b *bundle) {
		b.put(agentapi.ActionsFile, `{"who": {"args": "id -un; pwd; echo $JOB_LABEL; echo error >&2; echo > /data/acts"}}`)
	})
	acts := c.fifo("acts")
	if answer := c.ask(actionRequest("who", "")); answer.Action == nil || answer.Action.PID < 2 {
		t.Fatalf("answer %+v, %v", answer.Action, answer.Error)
	}
	acts()
	// One that is still running is killed with the job, and what it wrote is kept.
	c.ask(actionRequest("endless", "trap '' TERM HUP INT; echo begun; echo > /data/acts; sleep 1000; echo never"))
	acts()
	c.signaled(10)
	got := c.wait()
	if want := "job\nnimbix\n/home/nimbix\nmy label\nerror\nbegun\n"; got.output != want || got.code != 3 {
		t.Errorf("exit code %d, output %q; want 3 and %q", got.code, got.output, want)
	}
}

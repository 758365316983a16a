package agent_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// tooLong is for tests that hang; none should come near it.
const tooLong = 3 * time.Minute

// scratch is a directory for all tests of the package, made by TestMain.
var scratch string

var builtAgent = sync.OnceValues(func() (string, error) {
	path := filepath.Join(scratch, "berth-init")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "github.com/berth-hpc/berth/cmd/berth-init")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build berth-init: %w\n%s", err, text)
	}
	return path, nil
})

var busyboxApplets = sync.OnceValues(func() ([]string, error) {
	text, err := exec.Command("/bin/busybox", "--list").Output()
	return strings.Fields(string(text)), err
})

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "berth-agent-test")
	if err != nil {
		panic(err)
	}
	scratch = dir
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// needContainers fails the test when this machine cannot run it.
func needContainers(t *testing.T) (agent string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("root is needed to run containers")
	}
	for file, pkg := range map[string]string{"/usr/sbin/runc": "runc", "/bin/busybox": "busybox-static"} {
		_, err := os.Stat(file)
		if _, inPath := exec.LookPath(filepath.Base(file)); err != nil && inPath != nil {
			t.Fatalf("%s is missing: apt-get install %s", file, pkg)
		}
	}
	agent, err := builtAgent()
	if err != nil {
		t.Fatal(err)
	}
	return agent
}

// bundle is a container to run the agent in. Tests change it before they start it.
type bundle struct {
	t *testing.T
	// dir is agentapi.Dir, data is /data, root is the root filesystem, on the host.
	dir, data, root string
	spec            agentapi.Spec
	env             []string
	capabilities    []string
	memory          int64
	// extra are further mounts.
	extra []map[string]any
	// network is the path of its network namespace, "" for one of its own.
	network string
}

// newBundle returns a container with busybox and a job that runs script.
func newBundle(t *testing.T, script string) *bundle {
	t.Helper()
	base := t.TempDir()
	b := &bundle{
		t: t, dir: filepath.Join(base, "job"), data: filepath.Join(base, "data"), root: filepath.Join(base, "rootfs"),
		env:          []string{"FROM_IMAGE=yes", "HOME=/root"},
		capabilities: []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_SETUID", "CAP_SETGID", "CAP_KILL"},
		spec: agentapi.Spec{
			Job: 7, Name: "20230906104200-995TB-jarvice-batch-me_s1", Label: "my label", Hostname: "jarvice-job-7",
			Nodes:  []agentapi.Node{{Name: "jarvice-job-7", Cores: 2}},
			User:   agentapi.User{Name: "nimbix", Group: "nimbix", UID: 505, GID: 505},
			Script: script, Variables: []agentapi.Setting{{Key: "JARVICE_VAULT_NAME", Value: "ephemeral"}},
			Data:  agentapi.Data{Path: "/data", Chown: true},
			Grace: 30 * time.Second,
		},
	}
	must(t, os.Mkdir(b.dir, 0o700), os.Mkdir(b.data, 0o755), os.MkdirAll(filepath.Join(b.root, "bin"), 0o755),
		os.Mkdir(filepath.Join(b.root, "etc"), 0o755), os.Mkdir(filepath.Join(b.root, "tmp"), 0o1777))
	busybox, err := os.ReadFile("/bin/busybox")
	must(t, err, os.WriteFile(filepath.Join(b.root, "bin/busybox"), busybox, 0o755))
	applets, err := busyboxApplets()
	must(t, err)
	for _, applet := range applets {
		if applet != "busybox" {
			must(t, os.Symlink("busybox", filepath.Join(b.root, "bin", applet)))
		}
	}
	return b
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// config is the bundle's config.json.
func (b *bundle) config(agent, id string) map[string]any {
	mounts := []map[string]any{
		{"destination": "/proc", "type": "proc", "source": "proc"},
		{"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": []string{"nosuid", "mode=755", "size=65536k"}},
		{"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": []string{"nosuid", "noexec", "nodev", "ro"}},
		{"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": []string{"nosuid", "noexec", "nodev", "ro"}},
		{"destination": "/data", "type": "bind", "source": b.data, "options": []string{"bind"}},
		{"destination": agentapi.Dir, "type": "bind", "source": b.dir, "options": []string{"bind"}},
		{"destination": agentapi.Init, "type": "bind", "source": agent, "options": []string{"bind", "ro"}},
	}
	caps := map[string]any{}
	for _, set := range []string{"bounding", "effective", "permitted"} {
		caps[set] = b.capabilities
	}
	network := map[string]any{"type": "network"}
	if b.network != "" {
		network["path"] = b.network
	}
	linux := map[string]any{
		"cgroupsPath": "/" + id,
		"namespaces": []map[string]any{
			{"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "cgroup"}, network,
		},
	}
	if b.memory > 0 {
		linux["resources"] = map[string]any{"memory": map[string]any{"limit": b.memory, "swap": b.memory}}
	}
	return map[string]any{
		"ociVersion": "1.0.2", "hostname": b.spec.Hostname, "linux": linux,
		"root":   map[string]any{"path": b.root},
		"mounts": append(mounts, b.extra...),
		"process": map[string]any{
			"args": []string{agentapi.Init}, "env": b.env, "cwd": "/", "user": map[string]any{"uid": 0, "gid": 0},
			"capabilities": caps, "noNewPrivileges": true,
		},
	}
}

// container is a bundle that runs.
type container struct {
	*bundle
	id, state string
	cmd       *exec.Cmd
	// log is what the agent says on stderr.
	log io.Reader
}

// start runs the bundle. The specification is written unless something is there in its place already.
func (b *bundle) start() *container {
	b.t.Helper()
	agent := needContainers(b.t)
	if _, err := os.Lstat(filepath.Join(b.dir, agentapi.SpecFile)); errors.Is(err, os.ErrNotExist) {
		must(b.t, os.WriteFile(filepath.Join(b.dir, agentapi.SpecFile), b.specText(), 0o600))
	}
	base := filepath.Dir(b.root)
	id := fmt.Sprintf("berth-agent-test-%s-%s-%d", filepath.Base(filepath.Dir(base)), filepath.Base(base), os.Getpid())
	c := &container{bundle: b, id: id, state: filepath.Join(base, "state")}
	text, err := json.Marshal(b.config(agent, c.id))
	must(b.t, err, os.WriteFile(filepath.Join(base, "config.json"), text, 0o600))

	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.t.Context()), tooLong)
	c.cmd = exec.CommandContext(ctx, "runc", "--root", c.state, "run", "--bundle", base, c.id)
	c.log, err = c.cmd.StderrPipe()
	must(b.t, err)
	b.t.Cleanup(func() {
		defer cancel()
		_ = exec.Command("runc", "--root", c.state, "delete", "--force", c.id).Run() // mostly gone already
		_ = c.cmd.Wait()
	})
	must(b.t, c.cmd.Start())
	return c
}

func (b *bundle) specText() []byte {
	text, err := json.Marshal(b.spec)
	must(b.t, err)
	return text
}

// signal sends a signal to the agent.
func (c *container) signal(name string) {
	c.t.Helper()
	if text, err := exec.Command("runc", "--root", c.state, "kill", c.id, name).CombinedOutput(); err != nil {
		c.t.Fatalf("runc kill: %v: %s", err, text)
	}
}

// result is what a job left.
type result struct {
	code   int
	report agentapi.Report
	// init is what the agent said, output what the command wrote.
	init, output string
}

// wait returns the result after the end.
func (c *container) wait() result {
	c.t.Helper()
	log, _ := io.ReadAll(c.log)
	err := c.cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	if c.cmd.ProcessState.ExitCode() < 0 {
		c.t.Fatalf("runc was killed: the agent did not end by itself; its log:\n%s", log)
	}
	if len(log) > 0 {
		c.t.Logf("log:\n%s", log)
	}
	text, err := os.ReadFile(filepath.Join(c.dir, agentapi.OutputFile))
	must(c.t, err)
	report, err := agentapi.ReadReport(c.dir)
	must(c.t, err)
	r := result{code: c.cmd.ProcessState.ExitCode(), report: report}
	r.init, r.output, _ = strings.Cut(string(text), strings.Repeat("#", 79)+"\n")
	return r
}

// run runs the bundle to its end.
func (b *bundle) run() result {
	b.t.Helper()
	return b.start().wait()
}

// fifo makes a FIFO in /data. The function it returns waits until the job writes a line into it.
func (b *bundle) fifo(name string) (await func()) {
	path := filepath.Join(b.data, name)
	must(b.t, syscall.Mkfifo(path, 0o666), os.Chmod(path, 0o666))
	file, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	must(b.t, err)
	b.t.Cleanup(func() { _ = file.Close() })
	return func() {
		b.t.Helper()
		must(b.t, file.SetReadDeadline(time.Now().Add(tooLong)))
		if _, err := bufio.NewReader(file).ReadString('\n'); err != nil {
			output, _ := os.ReadFile(filepath.Join(b.dir, agentapi.OutputFile))
			b.t.Fatalf("the job wrote nothing to %s: %v; its output:\n%s", path, err, output)
		}
	}
}

// awaitLog returns when the agent has logged text.
func (c *container) awaitLog(text string) {
	c.t.Helper()
	var seen bytes.Buffer
	buffer := make([]byte, 4096)
	for !strings.Contains(seen.String(), text) {
		n, err := c.log.Read(buffer)
		seen.Write(buffer[:n])
		if err != nil {
			c.t.Fatalf("the agent ended without logging %q; it logged:\n%s", text, seen.String())
		}
	}
}

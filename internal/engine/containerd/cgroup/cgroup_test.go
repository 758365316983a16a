package cgroup

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// newGroup makes a group with a process in it that ignores SIGTERM.
func newGroup(t *testing.T) (Group, *exec.Cmd) {
	t.Helper()
	g := Of("test-" + strings.ToLower(t.Name()) + "-" + strconv.Itoa(os.Getpid()))
	made := 0
	for _, root := range g.roots {
		enableControllers(t, root)
		dir := filepath.Join(root, Path(g.id))
		if filepath.Base(root) == "cpuset" { // it takes processes only when it is configured
			continue
		}
		if err := os.MkdirAll(dir, 0o755); err == nil {
			made++
		}
	}
	if made == 0 {
		t.Fatal("no control group could be made")
	}
	child := exec.CommandContext(t.Context(), "/bin/sh", "-c", "trap '' TERM; sleep 1000 & wait")
	child.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = syscall.Kill(-child.Process.Pid, syscall.SIGKILL)
		_ = child.Wait()
		_ = g.Remove(t.Context())
	})
	for _, dir := range g.dirs() {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(child.Process.Pid)), 0); err != nil {
			t.Fatal(err)
		}
	}
	return g, child
}

// enableControllers has groups of version 2 count what runc has them count. Version 1 always does.
func enableControllers(t *testing.T, root string) {
	t.Helper()
	for _, dir := range []string{root, filepath.Join(root, Parent)} {
		file := filepath.Join(dir, "cgroup.subtree_control")
		controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
		if err == nil && strings.Contains(string(controllers), "memory") {
			err = os.MkdirAll(filepath.Join(root, Parent), 0o755)
			err = errors.Join(err, os.WriteFile(file, []byte("+cpu +memory +pids"), 0))
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

func TestRemove(t *testing.T) {
	g, child := newGroup(t)
	if alive, err := g.Populated(); err != nil || !alive {
		t.Fatalf("Populated is %t, %v; want true", alive, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	for range 2 {
		if err := g.Remove(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the process ended by itself; it was to be killed")
		}
	case <-time.After(time.Minute):
		t.Error("the process lives on")
	}
	if alive, err := g.Populated(); err != nil || alive {
		t.Errorf("Populated is %t, %v; want false", alive, err)
	}
	if dirs := g.dirs(); len(dirs) != 0 {
		t.Errorf("%q are left", dirs)
	}
}

func TestNotThere(t *testing.T) {
	g := Of("test-not-there")
	if alive, err := g.Populated(); err != nil || alive {
		t.Errorf("Populated is %t, %v; want false", alive, err)
	}
	if n := g.OOMKills(); n != 0 {
		t.Errorf("OOMKills is %d; want 0", n)
	}
	if err := g.Remove(t.Context()); err != nil {
		t.Errorf("Remove: %v", err)
	}
}

func TestCounter(t *testing.T) {
	for name, test := range map[string]struct {
		text   string
		want   int
		wantOK bool
	}{
		"version 1": {"oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", 2, true},
		"version 2": {"low 0\nhigh 0\nmax 7\noom 1\noom_kill 3\noom_group_kill 1\n", 3, true},
		"not there": {"oom_kill_disable 0\n", 0, false},
		"damaged":   {"oom_kill many\n", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, ok := counter(path, "oom_kill"); got != test.want || ok != test.wantOK {
				t.Errorf("counter is %d, %t; want %d, %t", got, ok, test.want, test.wantOK)
			}
		})
	}
}

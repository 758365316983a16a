package cgroup

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/berth-hpc/berth/internal/engine"
)

// What the kernel tells of a group: texts by hierarchy and file. Version 2 has one hierarchy, on the mount point itself.
var (
	version1 = map[string]string{
		"cpu/cpu.stat":                 "nr_periods 7\nnr_throttled 0\nthrottled_time 0\n",
		"cpuacct/cpuacct.usage":        "1500000000\n",
		"memory/memory.usage_in_bytes": "1000000\n",
		"memory/memory.stat":           "cache 600000\ninactive_file 100\ntotal_cache 600000\ntotal_inactive_file 300000\n",
		"memory/memory.limit_in_bytes": "4000000\n",
		"pids/pids.current":            "3\n",
		"systemd/cgroup.procs":         "17\n",
	}
	hybrid = change(version1, map[string]string{
		"cpuacct/cpuacct.usage": "",
		"unified/cgroup.procs":  "17\n",
		"unified/cpu.stat":      "usage_usec 1500000\n",
	})
	version2 = map[string]string{
		"cpu.stat":       "usage_usec 1500000\nuser_usec 1\nsystem_usec 2\n",
		"memory.current": "1000000\n",
		"memory.stat":    "anon 500000\nfile 400000\ninactive_file 300000\nactive_file 100000\n",
		"memory.max":     "4000000\n",
		"pids.current":   "3\n",
	}
)

// change returns files with others in their place; an empty text removes one.
func change(files, changes map[string]string) map[string]string {
	changed := maps.Clone(files)
	maps.Copy(changed, changes)
	maps.DeleteFunc(changed, func(_, text string) bool { return text == "" })
	return changed
}

// fakeGroup is a group whose files are below a temporary directory.
func fakeGroup(t *testing.T, files map[string]string) Group {
	t.Helper()
	mount := t.TempDir()
	g := Group{id: "1-a"}
	roots := make(map[string]bool)
	for path, text := range files {
		root := filepath.Join(mount, filepath.Dir(path))
		roots[root] = true
		dir := filepath.Join(root, Path(g.id))
		err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, filepath.Base(path)), []byte(text), 0o600))
		if err != nil {
			t.Fatal(err)
		}
	}
	for root := range roots { // in any order: it must not matter
		g.roots = append(g.roots, root)
	}
	return g
}

func TestUsage(t *testing.T) {
	want := engine.Usage{CPU: 1500 * time.Millisecond, Memory: 700000, MemoryLimit: 4000000, Processes: 3}
	unlimited := want
	unlimited.MemoryLimit = 0
	cache := want
	cache.Memory = 0
	for name, test := range map[string]struct {
		files map[string]string
		want  engine.Usage
	}{
		"version 1":           {version1, want},
		"both":                {hybrid, want},
		"version 2":           {version2, want},
		"version 1, no limit": {change(version1, map[string]string{"memory/memory.limit_in_bytes": "9223372036854771712\n"}), unlimited},
		"version 2, no limit": {change(version2, map[string]string{"memory.max": "max\n"}), unlimited},
		"cache has changed":   {change(version2, map[string]string{"memory.current": "200000\n"}), cache},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := fakeGroup(t, test.files).Usage()
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.IgnoreFields(engine.Usage{}, "At")); diff != "" {
				t.Errorf("usage (-want +got):\n%s", diff)
			}
			if got.At.IsZero() {
				t.Error("it does not say when it was measured")
			}
		})
	}
}

// TestUsageUnknown: only a group that is not there, or is empty, is none.
func TestUsageUnknown(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		none  bool
	}{
		"not there":             {nil, true},
		"version 1, empty":      {change(version1, map[string]string{"pids/pids.current": "0\n"}), true},
		"version 2, empty":      {change(version2, map[string]string{"pids.current": "0\n"}), true},
		"damaged number":        {change(version2, map[string]string{"memory.current": "many\n"}), false},
		"damaged line":          {change(version2, map[string]string{"cpu.stat": "usage_usec\n"}), false},
		"no CPU time":           {change(version1, map[string]string{"cpuacct/cpuacct.usage": ""}), false},
		"no memory":             {change(version2, map[string]string{"memory.current": ""}), false},
		"no memory limit":       {change(version2, map[string]string{"memory.max": ""}), false},
		"no count of processes": {change(version2, map[string]string{"pids.current": ""}), false},
	} {
		t.Run(name, func(t *testing.T) {
			usage, err := fakeGroup(t, test.files).Usage()
			if err == nil || errors.Is(err, fs.ErrNotExist) != test.none {
				t.Errorf("usage is %+v, error %v; want an error, fs.ErrNotExist: %t", usage, err, test.none)
			}
			if diff := cmp.Diff(engine.Usage{}, usage); diff != "" {
				t.Errorf("usage with an error (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUsageOfProcess looks at a group of this machine.
func TestUsageOfProcess(t *testing.T) {
	g, child := newGroup(t)
	first, err := g.Usage()
	if err != nil {
		t.Fatal(err)
	}
	if first.Processes < 1 || first.Memory < 0 || first.CPU < 0 || time.Since(first.At) > time.Minute {
		t.Errorf("usage of a shell that sleeps is %+v", first)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	if err := g.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the process ended by itself; it was to be killed")
	}
	if usage, err := g.Usage(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("usage of what is removed: %+v, %v; want fs.ErrNotExist", usage, err)
	}
}

package agent_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// TestHostileImage has symlinks wherever the agent writes, all into what the image must not reach.
func TestHostileImage(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "id -un; echo $HOME; ls -A $HOME; cat /etc/JARVICE/nodes; hostname")
	for link, target := range map[string]string{
		"etc/hosts":      "/data/victim",
		"etc/hostname":   "/run/berth/report.json",
		"etc/passwd":     "/run/berth/spec.json",
		"etc/group":      "/proc/self/environ",
		"etc/JARVICE":    "../data/folder",
		"etc/skel":       "/run/berth",
		"home":           "loop",
		"loop":           "home",
		"opt":            "/run/berth",
		"var":            "/data",
		".jobscript":     "/data/victim",
		".berth-dangles": "/nowhere",
	} {
		must(t, os.Symlink(target, filepath.Join(b.root, link)))
	}
	must(t, os.WriteFile(filepath.Join(b.data, "victim"), []byte("whole"), 0o600), os.Mkdir(filepath.Join(b.data, "folder"), 0o755))
	got := b.run()
	if diff := cmp.Diff("nimbix\n/home/nimbix\njarvice-job-7\njarvice-job-7\n", got.output); diff != "" {
		t.Errorf("output (-want +got):\n%s\nINIT lines:\n%s", diff, got.init)
	}
	if diff := cmp.Diff([]string{"folder", "victim"}, names(t, b.data)); diff != "" {
		t.Errorf("/data (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{agentapi.OutputFile, agentapi.ReportFile, agentapi.SpecFile}, names(t, b.dir)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", agentapi.Dir, diff)
	}
	if entries := names(t, filepath.Join(b.data, "folder")); len(entries) > 0 {
		t.Errorf("/data/folder holds %q; want nothing", entries)
	}
	if text, err := os.ReadFile(filepath.Join(b.data, "victim")); err != nil || string(text) != "whole" {
		t.Errorf("/data/victim = %q, %v; want it whole", text, err)
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	list := make([]string, 0, len(entries))
	for _, entry := range entries {
		list = append(list, entry.Name())
	}
	return list
}

// TestFilesOfTheEngine has files mounted where the agent writes some, as Kubernetes does.
func TestFilesOfTheEngine(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "cat /etc/hosts; id -un")
	base := filepath.Dir(b.root)
	for name, text := range map[string]string{"hosts": "old\nold\nold\nold\nold\nold\n", "passwd": "root:x:0:0::/:/bin/sh\nnobody:x:9:9::/:/bin/sh\n"} {
		source := filepath.Join(base, name)
		must(t, os.WriteFile(source, []byte(text), 0o644))
		b.extra = append(b.extra, map[string]any{"destination": "/etc/" + name, "type": "bind", "source": source, "options": []string{"bind"}})
	}
	got := b.run()
	want := "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.0.1\tjarvice-job-7\nnimbix\n"
	if diff := cmp.Diff(want, got.output); diff != "" {
		t.Errorf("output (-want +got):\n%s\nINIT lines:\n%s", diff, got.init)
	}
	text, err := os.ReadFile(filepath.Join(base, "passwd"))
	must(t, err)
	if want := "root:x:0:0::/:/bin/sh\nnobody:x:9:9::/:/bin/sh\nnimbix:x:505:505:nimbix:/home/nimbix:/bin/sh\n"; string(text) != want {
		t.Errorf("passwd is %q; want %q", text, want)
	}
}

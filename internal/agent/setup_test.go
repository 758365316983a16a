package agent

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// testSetup is a setup of a root below a temporary directory.
type testSetup struct {
	*setup
	t    *testing.T
	dir  string
	text *bytes.Buffer
}

func validSpec() agentapi.Spec {
	return agentapi.Spec{
		Job: 7, Name: "a-job", Hostname: "n1", Nodes: []agentapi.Node{{Name: "n1", Cores: 1}},
		User: agentapi.User{Name: "nimbix", Group: "nimbix", UID: 505, GID: 505}, Script: "true",
	}
}

func newSetup(t *testing.T) *testSetup {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("root is needed to give files away")
	}
	dir := t.TempDir()
	root, err := openRootfs(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(root.close)
	text := &bytes.Buffer{}
	out := &output{write: text.Write, pause: func(time.Duration) {}, log: t.Output()}
	return &testSetup{setup: &setup{spec: validSpec(), root: root, out: out}, t: t, dir: dir, text: text}
}

func (s *testSetup) said() string { return s.text.String() }

func (s *testSetup) put(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *testSetup) fifo(name string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o644); err != nil {
		s.t.Fatal(err)
	}
}

func (s *testSetup) want(name, text string) {
	s.t.Helper()
	got, err := os.ReadFile(filepath.Join(s.dir, name))
	if err != nil {
		s.t.Fatal(err)
	}
	if diff := cmp.Diff(text, string(got)); diff != "" {
		s.t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// tree lists a directory: mode, owner, name, and where a symlink leads.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		line := info.Mode().String() + " " + name
		if info.Sys().(*syscall.Stat_t).Uid != 505 {
			line += " (not the user's)"
		}
		if target, err := os.Readlink(path); err == nil {
			line += " -> " + target
		}
		list = append(list, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestMakeHome(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.put("/etc/skel/.profile", "skeleton")
	s.put("/etc/skel/.bashrc", "skeleton")
	s.put("/etc/skel/.config/a/b", "deep")
	s.fifo("/etc/skel/fifo")
	s.put("/home/nimbix/.bashrc", "the image's")
	for link, target := range map[string]string{"loop": ".", "out": "/etc/shadow", "dangling": "nowhere"} {
		if err := os.Symlink(target, filepath.Join(s.dir, "etc/skel", link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"etc/skel/.profile": os.ModeSetuid | 0o750, "etc/skel/.config/a": 0o700, "home": 0o700} {
		if err := os.Chmod(filepath.Join(s.dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.makeHome(); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"drwxr-xr-x .", "-rw-r--r-- .bashrc (not the user's)", "drwxr-xr-x .config", "drwx------ .config/a", "-rw-r--r-- .config/a/b",
		"-rwxr-x--- .profile", "Lrwxrwxrwx dangling -> nowhere", "Lrwxrwxrwx loop -> .", "Lrwxrwxrwx out -> /etc/shadow",
	}
	if diff := cmp.Diff(want, tree(t, filepath.Join(s.dir, "home/nimbix"))); diff != "" {
		t.Errorf("home (-want +got):\n%s", diff)
	}
	s.want("/home/nimbix/.bashrc", "the image's")
	s.want("/home/nimbix/.config/a/b", "deep")
	if s.home != "/home/nimbix" || s.said() != "" {
		t.Errorf("home %s, INIT lines %q; want no warning", s.home, s.said())
	}
	for name, mode := range map[string]os.FileMode{"home": 0o711, "tmp": 0o777} {
		if info, err := os.Stat(filepath.Join(s.dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("/%s: %v, %v; want mode %o", name, info, err, mode)
		}
	}
}

func TestHugeSkeletonIsCut(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.put("/etc/skel/huge", "")
	if err := os.Truncate(filepath.Join(s.dir, "etc/skel/huge"), maxSkeletonBytes+1); err != nil {
		t.Fatal(err)
	}
	if err := s.makeHome(); err != nil {
		t.Fatal(err)
	}
	if want := "INIT[1]: WARNING: not all of /etc/skel was copied: it is too big\n"; s.said() != want {
		t.Errorf("INIT lines %q; want %q", s.said(), want)
	}
}

func TestHomeBelowTmp(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	// A directory that cannot be written even by root.
	home := filepath.Join(s.dir, "home")
	if err := os.Mkdir(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", home, "tmpfs", syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(home, syscall.MNT_DETACH) })
	if err := s.makeHome(); err != nil {
		t.Fatal(err)
	}
	if s.home != fallbackHome || s.said() != "INIT[1]: WARNING: mkdir /home/nimbix: read-only file system\n" {
		t.Errorf("home %s, INIT lines %q; want %s and a warning", s.home, s.said(), fallbackHome)
	}
	if diff := cmp.Diff([]string{"drwxr-xr-x ."}, tree(t, filepath.Join(s.dir, s.home))); diff != "" {
		t.Errorf("home (-want +got):\n%s", diff)
	}
}

func TestRootfsKeepsToItself(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	mount := filepath.Join(s.dir, "data")
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", mount, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(mount, syscall.MNT_DETACH) })
	s.put("/data/secret", "secret")
	s.put("/usr/lib/file", "inside")
	for link, target := range map[string]string{"lib": "usr/lib", "var": "/data", "outside": "../../../../../../../../tmp", "x": "/data/secret", "y": "/usr/lib/file"} {
		if err := os.Symlink(target, filepath.Join(s.dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"/data/secret": "secret", "/lib/file": "inside", "/y": "inside", "/x": "", "/var/secret": "", "/outside": ""} {
		if got, err := s.root.read(name); string(got) != want || (err == nil) != (want != "") {
			t.Errorf("read %s = %q, %v; want %q", name, got, err, want)
		}
	}
	for _, name := range []string{"/lib/new", "/data/new", "/var/new", "/x", "/outside/new", "/y"} {
		if err := s.write(name, "new"); err != nil {
			t.Errorf("write %s: %v", name, err)
		}
		s.want(name, "new")
	}
	s.want("/usr/lib/new", "new")
	s.want("/usr/lib/file", "inside")
	s.want("/data/secret", "secret")
	if info, err := os.Lstat(filepath.Join(s.dir, "var")); err != nil || !info.IsDir() {
		t.Errorf("/var is %v, %v; want a directory in place of the symlink into a mount", info, err)
	}
}

func withFile(path string) func(*agentapi.Spec) {
	return func(s *agentapi.Spec) { s.Data.Path, s.Files = "/data/", []agentapi.File{{Path: path}} }
}

func TestReadSpecRefuses(t *testing.T) {
	t.Parallel()
	if err := checkSpec(validSpec()); err != nil {
		t.Fatalf("the valid specification is refused: %v", err)
	}
	tests := map[string]func(*agentapi.Spec){
		"user":            func(s *agentapi.Spec) { s.User.Name = "../x" },
		"dots":            func(s *agentapi.Spec) { s.User.Name = ".." },
		"user is root":    func(s *agentapi.Spec) { s.User.Name = "root" },
		"no user":         func(s *agentapi.Spec) { s.User.Name = "" },
		"group":           func(s *agentapi.Spec) { s.User.Group = "a:b" },
		"newline":         func(s *agentapi.Spec) { s.User.Group = "a\nb" },
		"uid 0":           func(s *agentapi.Spec) { s.User.UID = 0 },
		"gid 0":           func(s *agentapi.Spec) { s.User.GID = 0 },
		"uid -1":          func(s *agentapi.Spec) { s.User.UID = 1<<32 - 1 },
		"no command":      func(s *agentapi.Spec) { s.Script = "" },
		"two commands":    func(s *agentapi.Spec) { s.Shell = "true" },
		"three commands":  func(s *agentapi.Spec) { s.Shell, s.Argv = "true", []string{"true"} },
		"shell":           func(s *agentapi.Spec) { s.Script, s.Shell = "", "a\x00" },
		"argument":        func(s *agentapi.Spec) { s.Script, s.Argv = "", []string{"a", "\x00"} },
		"no program":      func(s *agentapi.Spec) { s.Script, s.Argv = "", []string{"", "a"} },
		"setting":         func(s *agentapi.Spec) { s.Variables = []agentapi.Setting{{Key: "A=B"}} },
		"setting's value": func(s *agentapi.Spec) { s.Variables = []agentapi.Setting{{Key: "A", Value: "\x00"}} },
		"password":        func(s *agentapi.Spec) { s.Password = "a\nb" },
		"random":          func(s *agentapi.Spec) { s.Random = "a b" },
		"geometry":        func(s *agentapi.Spec) { s.Geometry = "1x1\nPATH=x" },
		"relative file":   withFile("x/y"),
		"unclean file":    withFile("/x/../run/berth/spec.json"),
		"root as file":    withFile("/"),
		"agent's file":    withFile("/run/berth/spec.json"),
		"agent as file":   withFile("/run/berth-init"),
		"kernel's file":   withFile("/proc/sys/kernel/core_pattern"),
		"vault's file":    withFile("/data/x"),
		"vault as file":   withFile("/data"),
		"platform's file": withFile("/etc/JARVICE/nodes"),
		"accounts":        withFile("/etc/passwd"),
		"another vault": func(s *agentapi.Spec) {
			s.Data.Path, s.Files = "/vault/", []agentapi.File{{Path: "/vault/x"}}
		},
		"script":          func(s *agentapi.Spec) { s.Script = "a\x00" },
		"data":            func(s *agentapi.Spec) { s.Data.Path = "data" },
		"name":            func(s *agentapi.Spec) { s.Name = "a\x00" },
		"variable":        func(s *agentapi.Spec) { s.Env = map[string]string{"A=B": ""} },
		"value":           func(s *agentapi.Spec) { s.Env = map[string]string{"A": "\x00"} },
		"no nodes":        func(s *agentapi.Spec) { s.Nodes = nil },
		"foreign node":    func(s *agentapi.Spec) { s.Hostname = "n2" },
		"node":            func(s *agentapi.Spec) { s.Nodes[0].Name, s.Hostname = "a b", "a b" },
		"address":         func(s *agentapi.Spec) { s.Nodes[0].Address = "10.0.0.1 evil" },
		"name server":     func(s *agentapi.Spec) { s.Nameservers = []string{"1.1.1.1\noptions x"} },
		"search":          func(s *agentapi.Spec) { s.Search = []string{"a\nnameserver 1.1.1.1"} },
		"search is empty": func(s *agentapi.Spec) { s.Search = []string{""} },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := validSpec()
			spoil(&spec)
			if err := checkSpec(spec); err == nil {
				t.Errorf("%+v is accepted", spec)
			}
		})
	}
}

func TestSeveralNodes(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.spec.Nodes = []agentapi.Node{{Name: "n1", Address: "10.0.0.1", Cores: 2}, {Name: "n2", Address: "10.0.0.2", Cores: 1}}
	if err := s.writePlatformFiles(); err != nil {
		t.Fatal(err)
	}
	if err := s.configureNetwork(); err != nil {
		t.Fatal(err)
	}
	s.want("/etc/JARVICE/nodes", "n1\nn2\n")
	s.want("/etc/JARVICE/cores", "n1\nn1\nn2\n")
	s.want("/var/JARVICE/c/hosts", "10.0.0.1 n1\n10.0.0.2 n2\n")
	s.want("/etc/hosts", "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.0.1\tn1\n10.0.0.2\tn2\n")
	if _, err := os.Lstat(filepath.Join(s.dir, "etc/resolv.conf")); !os.IsNotExist(err) {
		t.Errorf("/etc/resolv.conf: %v; want none when no name servers are given", err)
	}
}

func TestInterfaceAddress(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"lo": loopback, "no-such-one": "", "a name that is too long": ""} {
		if got := interfaceAddress(name); got != want {
			t.Errorf("address of %s = %q; want %q", name, got, want)
		}
	}
}

func TestOOMKills(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		file, text string
		want       int
	}{
		"v1":      {"memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n", 3},
		"v2":      {"memory.events", "low 0\nhigh 0\nmax 12\noom 1\noom_kill 2\noom_group_kill 0\n", 2},
		"unknown": {"memory.events", "oom_kill many\n", 0},
		"none":    {"other", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSetup(t)
			s.put("/sys/fs/cgroup/"+test.file, test.text)
			if got := oomKills(s.dir); got != test.want {
				t.Errorf("%d; want %d", got, test.want)
			}
		})
	}
}

// TestStoppedBeforeTheStart has the request to stop arrive before everything else.
func TestStoppedBeforeTheStart(t *testing.T) {
	t.Parallel()
	for name, sig := range map[string]os.Signal{"gracefully": unix.SIGTERM, "at once": unix.SIGUSR1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSetup(t)
			caught := signals{stop: make(chan os.Signal, 1), kill: make(chan os.Signal, 1)}
			if sig == unix.SIGTERM {
				caught.stop <- sig
			} else {
				caught.kill <- sig
			}
			dir := t.TempDir()
			spec := `{"hostname":"n1","nodes":[{"name":"n1"}],"user":{"name":"u","group":"g","uid":505,"gid":505},"script":"echo ran"}`
			if err := os.WriteFile(filepath.Join(dir, agentapi.SpecFile), []byte(spec), 0o600); err != nil {
				t.Fatal(err)
			}
			a := &agent{cfg: Config{Root: s.dir, Dir: dir, Log: t.Output()}, signals: caught, out: s.out}
			if diff := cmp.Diff(agentapi.Report{}, a.run()); diff != "" {
				t.Errorf("report (-want +got):\n%s", diff)
			}
			if !strings.HasSuffix(s.said(), "Stopped before the start of the application.\n") {
				t.Errorf("output %q; want it to say that nothing ran", s.said())
			}
		})
	}
}

func TestCheckDir(t *testing.T) {
	t.Parallel()
	own := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(own, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(own, 0o700); err != nil {
		t.Fatal(err)
	}
	given, open := t.TempDir(), t.TempDir()
	if err := os.Chown(given, 505, 505); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	for dir, accepted := range map[string]bool{own: true, link: false, given: false, open: false, own + "/none": false} {
		if err := checkDir(dir); (err == nil) != accepted {
			t.Errorf("checkDir(%s) = %v; want accepted: %v", dir, err, accepted)
		}
	}
}

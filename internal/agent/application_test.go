package agent_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// newApplication is newBundle for the command of an application.
func newApplication(t *testing.T, argv ...string) *bundle {
	t.Helper()
	b := newBundle(t, "")
	b.spec.Argv = argv
	return b
}

func TestArguments(t *testing.T) {
	t.Parallel()
	show := "#!/bin/sh\necho \"$0\" $#\nfor word; do printf '<%s>' \"$word\"; done\n"
	tests := map[string]struct {
		argv   []string
		code   int
		output string
	}{
		"as they are":        {[]string{"/show", "a b", "", "$HOME", "`id`", "-l", "ä\n"}, 0, "/show 6\n<a b><><$HOME><`id`><-l><ä\n>"},
		"found in the PATH":  {[]string{"echo", "-n", "found"}, 0, "found"},
		"free text":          {[]string{"/bin/sh", "-l", "-c", "echo $((40 + 2))"}, 0, "42\n"},
		"no such program":    {[]string{"/no/such"}, 127, "berth-init: /no/such: no such file or directory\n"},
		"not in the PATH":    {[]string{"nonsense"}, 127, "berth-init: nonsense: nonsense is not in the PATH: no such file or directory\n"},
		"no program at all":  {[]string{"/etc"}, 126, "berth-init: /etc: permission denied\n"},
		"an exit code of it": {[]string{"/bin/sh", "-c", "exit 9"}, 9, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newApplication(t, test.argv...)
			b.spec.Files = []agentapi.File{{Path: "/show", Data: []byte(show), Executable: true}}
			got := b.run()
			if diff := cmp.Diff(test.output, got.output); diff != "" || got.code != test.code {
				t.Errorf("exit code %d, want %d; output (-want +got):\n%s", got.code, test.code, diff)
			}
		})
	}
}

// TestShell: the text runs in a login shell, with the variables in its environment.
func TestShell(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "")
	b.spec.Shell = "tr '\\0' '|' < /proc/$$/cmdline; echo; echo \"$PROFILE $color $LATE $JARVICE_VAULT_NAME $JARVICE_JOBTOKEN\"; cat /etc/JARVICE/jobenv.sh"
	b.spec.Variables = append(b.spec.Variables, agentapi.Setting{Key: "LATE", Value: "a"}, agentapi.Setting{Key: "color", Value: "ye llow"})
	b.spec.Env = map[string]string{"color": "red", "JARVICE_ID_UID": "1"}
	b.spec.Random = "random"
	must(t, os.WriteFile(filepath.Join(b.root, "etc/profile"), []byte("PROFILE=read\n"), 0o644))
	want := "/bin/sh|-l|-c|" + b.spec.Shell + "|\nread ye llow a ephemeral random\n:\n" +
		"JARVICE_VAULT_NAME=\\e\\p\\h\\e\\m\\e\\r\\a\\l\nLATE=\\a\ncolor=\\y\\e\\ \\l\\l\\o\\w\n"
	if diff := cmp.Diff(want, b.run().output); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

// TestConnectionFiles: what a job has that people connect to, and that the job's user can read it.
func TestConnectionFiles(t *testing.T) {
	t.Parallel()
	b := newApplication(t, "/bin/sh", "-c", `cd /etc/JARVICE
ls -ln cert.pem htpasswd nimbix_desktop random128.txt vglinfo.sh vncpasswd vncpasswd-RealVNC | tr -s ' ' | cut -d' ' -f1,3-5,9
cat cert.pem htpasswd random128.txt vglinfo.sh vncpasswd-RealVNC; echo; od -An -tx1 vncpasswd
echo app_mode=x >> nimbix_desktop; cat nimbix_desktop`)
	b.spec.Password, b.spec.Random, b.spec.Certificate = "password", strings.Repeat("r4nd0m80", 16), []byte("PEM\n")
	b.spec.Geometry = "1280x720"
	got := b.run()
	want := `-rw------- 505 505 4 cert.pem
-rw------- 505 505 41 htpasswd
-rw-r--r-- 505 505 0 nimbix_desktop
-rw------- 505 505 128 random128.txt
-rw-r--r-- 0 0 24 vglinfo.sh
-rw------- 505 505 8 vncpasswd
-rw------- 505 505 16 vncpasswd-RealVNC
PEM
nimbix:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=
` + b.spec.Random + `:
VNC_GEOMETRY=1280x720
dbd83cfd727a1458
 db d8 3c fd 72 7a 14 58
app_mode=x
`
	if diff := cmp.Diff(want, got.output); diff != "" {
		t.Errorf("output (-want +got):\n%s\nINIT lines:\n%s", diff, got.init)
	}
}

func TestBatchJobsHaveNoConnectionFiles(t *testing.T) {
	t.Parallel()
	if diff := cmp.Diff("cores\njobenv.sh\njobinfo.sh\nnodes\n", newBundle(t, "ls -A /etc/JARVICE").run().output); diff != "" {
		t.Errorf("/etc/JARVICE (-want +got):\n%s", diff)
	}
}

func TestInitArguments(t *testing.T) {
	t.Parallel()
	b := newApplication(t, "/sbin/init", "-g", "/job script")
	b.spec.Init = true
	b.spec.Files = []agentapi.File{{Path: "/sbin/init", Data: []byte("#!/bin/sh\ncd /etc/JARVICE; cat cmdline; echo \"$@\" >> cmdline; ls -ln cmdline | cut -c1-10"), Executable: true}}
	if got := b.run(); got.output != "-g /job script\n-rw-------\n" || got.code != 0 {
		t.Errorf("output %q, exit code %d; INIT lines:\n%s", got.output, got.code, got.init)
	}
}

// TestVerboseInit: the lines follow the others, and the secrets of the job are not in them.
func TestVerboseInit(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "")
	b.spec.Shell = "echo -k token \\\n -p password"
	b.spec.Secrets, b.spec.Password, b.spec.VerboseInit = []string{"token"}, "password", true
	want := `INIT[1]: Configuring user: nimbix nimbix 505...
INIT[1]: Initializing networking...
INIT[1]: Finalizing setup in application environment...
INIT[1]: Waiting for job configuration before executing application...
INIT[1]: hostname: jarvice-job-7
INIT[1]: HOME=/home/nimbix
INIT[1]: VERBOSE - argv[0] : /bin/sh
INIT[1]: VERBOSE - argv[1] : -l
INIT[1]: VERBOSE - argv[2] : -c
INIT[1]: VERBOSE - argv[3] : echo -k *** \  -p ***
`
	got := b.run()
	if diff := cmp.Diff(want, got.init); diff != "" || got.output != "-k token -p password\n" {
		t.Errorf("output %q; INIT lines (-want +got):\n%s", got.output, diff)
	}
}

// TestFilesStayInTheContainer: symlinks of the image lead no file elsewhere, and a file that cannot be written stops the job.
func TestFilesStayInTheContainer(t *testing.T) {
	t.Parallel()
	t.Run("symlinks", func(t *testing.T) {
		t.Parallel()
		b := newApplication(t, "/bin/sh", "-c", "cat /deep/er/a /opt/b /linked/c; ls -ln /opt/b /deep/er/a | cut -c1-10")
		b.spec.Files = []agentapi.File{
			{Path: "/deep/er/a", Data: []byte("a\n")}, {Path: "/opt/b", Data: []byte("b\n"), Executable: true}, {Path: "/linked/c", Data: []byte("c\n")},
		}
		must(t, os.Symlink("/data", filepath.Join(b.root, "opt")), os.Symlink("/tmp", filepath.Join(b.root, "linked")),
			os.Mkdir(filepath.Join(b.root, "deep"), 0o700), os.Symlink("/run/berth", filepath.Join(b.root, "deep/er")))
		got := b.run()
		if diff := cmp.Diff("a\nb\nc\n-rw-r--r--\n-rwxr-xr-x\n", got.output); diff != "" {
			t.Errorf("output (-want +got):\n%s\nINIT lines:\n%s", diff, got.init)
		}
		if entries := names(t, b.data); len(entries) > 0 {
			t.Errorf("/data holds %q; want nothing", entries)
		}
		if diff := cmp.Diff([]string{agentapi.OutputFile, agentapi.ReportFile, agentapi.SpecFile}, names(t, b.dir)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", agentapi.Dir, diff)
		}
	})
	t.Run("a directory is in the way", func(t *testing.T) {
		t.Parallel()
		b := newApplication(t, "true")
		b.spec.Files = []agentapi.File{{Path: "/tmp", Data: []byte("x")}}
		if got := b.run(); got.code != agentapi.ExitSetup || !strings.Contains(got.report.Error, "/tmp") || !got.report.Started.IsZero() {
			t.Errorf("exit code %d, report %+v; want that the file cannot be written", got.code, got.report)
		}
	})
}

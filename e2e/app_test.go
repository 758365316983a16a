package e2e

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/berth-hpc/berth/internal/berthdtest"
	"github.com/berth-hpc/berth/internal/engine/containerd/cgroup"
	"github.com/berth-hpc/berth/internal/engine/containerd/private"
)

// appFiles make busybox an application of the platform: an init that can be told to power off, actions, and a program that takes
// signals in the application's place.
var appFiles = map[string]string{
	"sbin/init": `#!/bin/sh
echo init is up
while [ ! -e /tmp/off ]; do sleep 0.05; done
echo powered off
`,
	"bin/poweroff": "#!/bin/sh\ntouch /tmp/off\n",
	"etc/NAE/actions.json": `{"actions": {
  "finish": {"args": "echo finished by $(id -un); touch /tmp/done", "alt": "End it"},
  "linger": {"args": "echo lingering; touch /tmp/started; sleep 1000; echo too late"}
}}`,
	"etc/NAE/AppDef.json": `{
  "name": "Shown", "description": "Shows its arguments", "author": "berth", "licensed": false, "appdefversion": 2,
  "classifications": ["Test"], "machines": ["n[0-9]"], "vault-types": ["FILE", "NONE"],
  "commands": {
    "Show": {
      "path": "/usr/local/bin/show", "interactive": false, "name": "Show", "description": "Shows its arguments",
      "parameters": {
        "file": {"name": "File", "description": "A file", "type": "FILE", "positional": true, "required": true},
        "-n": {"name": "Number", "description": "A number", "type": "INT", "min": 1, "max": 9, "value": 3, "required": false},
        "-text": {"name": "Text", "description": "Any text", "type": "STR", "required": false},
        "-fast": {"name": "Fast", "description": "Be fast", "type": "BOOL", "value": false, "required": false},
        "-kind": {"name": "Kind", "description": "One of", "type": "selection", "values": ["good", "better"], "mvalues": ["g", "b"], "required": true},
        "COLOR": {"name": "Color", "description": "A variable", "type": "STR", "value": "yellow", "variable": true, "required": false},
        "cores": {"name": "Cores", "description": "Cores", "type": "CONST", "value": "%CORES% of %MACHINETYPE%", "positional": true, "required": true},
        "up": {"name": "Upload", "description": "A file to bring", "type": "UPLOAD", "target": "up.txt", "filter": "*.txt", "size": 100, "required": false}
      }
    },
    "Serve": {"path": "/usr/local/bin/serve", "interactive": true, "name": "Serve", "description": "Serves a page",
      "url": "http://%PUBLICADDR%:8888/page.html?token=%RANDOM16%",
      "parameters": {"base": {"name": "Base", "description": "Its path", "type": "CONST", "value": "%BASEURL%", "positional": true, "required": true}}},
    "Image": {"path": "/usr/local/bin/serve", "interactive": true, "name": "Image", "description": "Serves what the image says", "parameters": {}},
    "Ask": {"path": "/usr/local/bin/ask", "webshell": true, "name": "Ask", "description": "Asks on a terminal",
      "parameters": {"what": {"name": "What", "description": "A question", "type": "STR", "value": "how many", "positional": true, "required": true}}},
    "Wait": {"path": "/bin/sleep", "interactive": true, "name": "Wait", "description": "Waits",
      "parameters": {"time": {"name": "Seconds", "description": "How long", "type": "INT", "min": 1, "max": 1000, "value": 1000, "positional": true, "required": true}}}
  },
  "image": {"type": "image/png", "data": ""}
}`,
	"usr/local/bin/show": `#!/bin/sh
for word in "$@"; do echo "word [$word]"; done
. /etc/JARVICE/jobenv.sh
echo "color $COLOR as $(id -un) of $JOB_LABEL"
[ ! -e /opt/up.txt ] || cat /opt/up.txt
[ ! -e "$1" ] || true
`,
	"etc/NAE/url.txt":   "http://%PUBLICADDR%:8000/page.html\n",
	"etc/NAE/help.html": "<a href=\"%CONNECTURL%\">%NIMBIXUSER%</a>\n",
	// A web server whose pages are below its path, and a websocket that sends back what it gets.
	"usr/local/bin/serve": `#!/bin/sh
mkdir -p "/tmp/www/$1"
echo "page of $(id -un) below [$1] is [$JARVICE_INGRESSPATH]" > "/tmp/www/$1/page.html"
httpd -p 8888 -h /tmp/www
httpd -p 8000 -h /tmp/www
while true; do nc -l -p 8080 -e /usr/local/bin/websocket; done &
until grep -q ':1F90 .* 0A ' /proc/net/tcp /proc/net/tcp6; do sleep 0.05; done # it listens
echo serving
wait
`,
	"usr/local/bin/websocket": `#!/bin/sh
while read -r line && [ "$line" != "$(printf '\r')" ]; do case $line in [Aa]uthorization*|[Cc]ookie*) secret=$line;; esac; done
printf 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n'
echo "secret [$secret]"
exec cat
`,
	// A program that needs a terminal.
	"usr/local/bin/ask": `#!/bin/sh
stty size > /dev/null || exit 1
echo "$1? says $(id -un) at $(tty)"
read -r answer
echo "so $((answer + 2))"
exit "$answer"
`,
	"usr/local/bin/override": `#!/bin/sh
case $1 in
18|19|20) echo "override got $1 as $(id -un)" >&2; echo "{\"signal\": $1, \"pid\": 77}" ;;
*) echo '{"error": "only 18, 19 and 20 mean something here"}'; exit 1 ;;
esac
`,
}

// appArchive writes a docker-archive with the images local/app:latest, which has the files, and local/override:latest, which has its
// signals handled by one of them too.
func appArchive(t *testing.T, base v1.Image) string {
	t.Helper()
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return layerOf(appFiles) })
	if err != nil {
		t.Fatal(err)
	}
	app, err := mutate.AppendLayers(base, layer)
	if err != nil {
		t.Fatal(err)
	}
	config, err := app.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	env := config.DeepCopy().Config
	env.Env = append(env.Env, "JARVICE_SIGNAL_OVERRIDE=/usr/local/bin/override")
	override, err := mutate.Config(app, env)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "images.tar")
	images := map[name.Tag]v1.Image{}
	for ref, img := range map[string]v1.Image{"local/app:latest": app, "local/override:latest": override} {
		tag, err := name.NewTag(ref)
		if err != nil {
			t.Fatal(err)
		}
		images[tag] = img
	}
	if err := tarball.MultiWriteToFile(path, images); err != nil {
		t.Fatal(err)
	}
	return path
}

// layerOf returns files as a tar; the same files make the same bytes.
func layerOf(files map[string]string) (io.ReadCloser, error) {
	var text bytes.Buffer
	archive := tar.NewWriter(&text)
	for _, path := range slices.Sorted(maps.Keys(files)) {
		content := files[path]
		if err := archive.WriteHeader(&tar.Header{Name: path, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(content))}); err != nil {
			return nil, err
		}
		if _, err := io.WriteString(archive, content); err != nil {
			return nil, err
		}
	}
	return io.NopCloser(&text), archive.Close()
}

// cpuCmd: cpu grows|stands NUMBER waits until the processes of a job compute, or do not.
func cpuCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: cpu grows|stands NUMBER")
	}
	const between = 300 * time.Millisecond // a busy loop computes for longer than a clock tick within it
	group := cgroup.Of(attemptOf(ts, args[1]))
	last := time.Duration(-1)
	for deadline := time.Now().Add(berthdtest.ReadyWithin); time.Now().Before(deadline); time.Sleep(between) {
		usage, err := group.Usage()
		ts.Check(err)
		if last >= 0 && (usage.CPU > last) == (args[0] == "grows") {
			return
		}
		last = usage.CPU
	}
	ts.Fatalf("job %s: it is not so that its CPU time %s", args[1], args[0])
}

// attemptOf returns the attempt of a running job, which names its control group.
func attemptOf(ts *testscript.TestScript, number string) string {
	pattern := "containerd-shim-runc-v2 .*-id berth-" + number + "-.* -address " + private.StateDir(serverOf(ts).Data)
	out, err := processes(pattern)
	ts.Check(err)
	_, rest, found := strings.Cut(out, " -id ")
	if !found {
		ts.Fatalf("no shim of job %s: %s", number, out)
	}
	return strings.Fields(rest)[0]
}

// processes lists those whose command line matches, and returns nothing when there are none.
func processes(pattern string) (string, error) {
	out, err := exec.CommandContext(context.Background(), "pgrep", "-af", "--", pattern).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
		return "", nil
	}
	return string(out), err
}

// survivorsCmd: survivors NUMBER waits until no process, control group or shim of a job is left.
func survivorsCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: survivors NUMBER")
	}
	_, err := strconv.Atoi(args[0])
	ts.Check(err)
	var left string
	for deadline := time.Now().Add(berthdtest.ReadyWithin); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		left = leftOf(ts, args[0])
		if left == "" {
			return
		}
	}
	ts.Fatalf("of job %s there is still:\n%s", args[0], left)
}

func leftOf(ts *testscript.TestScript, number string) string {
	state := private.StateDir(serverOf(ts).Data)
	shims, err := processes("-id berth-" + number + "-.* -address " + state)
	ts.Check(err)
	bundles, err := filepath.Glob(filepath.Join(state, "*", "*", "berth-"+number+"-*"))
	ts.Check(err)
	return shims + strings.Join(bundles, "\n")
}

// credentialsCmd: credentials PREFIX FILE sets PREFIX_APIKEY to the key in a file of credentials.
func credentialsCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: credentials PREFIX FILE")
	}
	text, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	for line := range strings.Lines(string(text)) {
		if _, key, found := strings.Cut(strings.TrimSpace(line), "BERTH_APIKEY="); found {
			ts.Setenv(args[0]+"_APIKEY", key)
			return
		}
	}
	ts.Fatalf("%s holds no key: %s", args[1], fmt.Sprintf("%q", text))
}

// rootfsCmd: rootfs VARIABLE PACKAGE [OPTION…] sets a variable to the path of a root filesystem with a package of Debian, see
// scripts/rootfs.
func rootfsCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: rootfs VARIABLE PACKAGE [OPTION…]")
	}
	script := exec.CommandContext(context.Background(), "../scripts/rootfs", args[1:]...)
	var said bytes.Buffer
	script.Stderr = &said
	path, err := script.Output()
	if err != nil {
		ts.Fatalf("%v: %v\n%s", args, err, said.String())
	}
	ts.Setenv(args[0], strings.TrimSpace(string(path)))
}

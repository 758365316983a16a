// Package e2e tells the stories of berth's users as scripts against the real server, real containers and the real command line.
package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/berth-hpc/berth/internal/berthdtest"
	"github.com/berth-hpc/berth/internal/engine/containerd/private"
	"github.com/berth-hpc/berth/internal/engine/enginetest"
	"github.com/berth-hpc/berth/internal/image/imagetest"
	"github.com/berth-hpc/berth/internal/postgrestest"
)

// bin is the folder of the binaries under test, made by TestMain.
var bin string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "berth-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	bin = dir
	code := 1
	if err := berthdtest.Build(context.Background(), "..", dir, "berthd", "berth"); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	if err := postgres.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// postgres is for the stories that want it.
var postgres postgrestest.Server

// TestStories runs each script with a server of its own.
func TestStories(t *testing.T) {
	rootfs := enginetest.BusyboxRootfs(t)
	registry := imagetest.NewRegistry(t)
	base := busyboxImage(t, rootfs)
	images := appArchive(t, base)
	registry.Push(t, "team/tool:1", base)
	registry.SetGate(imagetest.Basic("ada", "secret"))
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			s := &berthdtest.Server{Bin: bin, Data: filepath.Join(env.WorkDir, "data")}
			env.Values[serverKey{}] = s
			env.Defer(func() {
				if err := s.Down(t.Context()); err != nil {
					t.Error(err)
				}
				for _, dir := range []string{filepath.Join(s.Data, "jobs"), s.Data} {
					_ = syscall.Unmount(dir, syscall.MNT_DETACH) // of the stories of full disks
				}
			})
			env.Values[s3Key{}] = &s3Story{}
			env.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("BUSYBOX", rootfs)
			env.Setenv("IMAGES", images)
			env.Setenv("DATA", s.Data)
			env.Setenv("REGISTRY", registry.Host)
			env.Setenv("SECRET", imagetest.Secret(registry.Host, "ada", "secret"))
			env.Setenv("WRONG_SECRET", imagetest.Secret(registry.Host, "ada", "guess"))
			return nil
		},
		Condition: func(name string) (bool, error) { return conditionOf(t, name) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server":      serverCmd,
			"http":        httpCmd,
			"upgrade":     upgradeCmd,
			"address":     addressCmd,
			"browser":     browserCmd,
			"picture":     pictureCmd,
			"credentials": credentialsCmd,
			"rootfs":      rootfsCmd,
			"attempt":     attemptCmd,
			"await":       awaitCmd,
			"gone":        goneCmd,
			"holds":       holdsCmd,
			"survivors":   survivorsCmd,
			"cpu":         cpuCmd,
			"killshim":    killshimCmd,
			"full":        fullCmd,
			"quotadisk":   quotadiskCmd,
			"postgres":    postgresCmd,
			"s3":          s3Cmd,
		},
	})
}

// busyboxImage makes an image of a root filesystem.
func busyboxImage(t *testing.T, rootfs string) v1.Image {
	t.Helper()
	layer, err := tarball.LayerFromFile(rootfs)
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(imagetest.Image(t), layer)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

type serverKey struct{}

func serverOf(ts *testscript.TestScript) *berthdtest.Server {
	return ts.Value(serverKey{}).(*berthdtest.Server)
}

// serverCmd: server start [flag…] | stop | kill | crash POINT[:N] (start with an armed crash point) | crashed (wait for it) |
// at DIR (another data directory from now on, as on another machine).
func serverCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 {
		ts.Fatalf("usage: server start|stop|kill|crash|crashed")
	}
	s := serverOf(ts)
	var err error
	switch args[0] {
	case "start":
		s.Flags, s.Env = args[1:], nil
		err = s.Start(context.Background())
	case "crash":
		s.Env = []string{"BERTH_CRASHPOINT=" + args[1]}
		err = s.Start(context.Background())
	case "crashed":
		ctx, cancel := context.WithTimeoutCause(context.Background(), berthdtest.ReadyWithin, fmt.Errorf("waited %s", berthdtest.ReadyWithin))
		defer cancel()
		err = s.Crashed(ctx)
	case "stop":
		err = s.Stop()
	case "kill":
		s.Kill()
	case "at":
		err = s.Down(context.Background())
		s.Data = ts.MkAbs(args[1])
		ts.Setenv("DATA", s.Data)
	default:
		ts.Fatalf("unknown: server %s", args[0])
	}
	if (err != nil) != neg {
		ts.Fatalf("server %s: %v", strings.Join(args, " "), err)
	}
	if err != nil {
		return
	}
	for name, value := range s.Vars {
		ts.Setenv(name, value)
	}
	listen := strings.TrimPrefix(s.URL, "http://")
	ts.Setenv("LISTEN", listen)                                            // for another start at the same address
	ts.Setenv("JOBS", "localhost"+listen[strings.LastIndex(listen, ":"):]) // the hosts of jobs are below it
}

// httpCmd: http METHOD PATH [BODY [HEADER: VALUE]…] prints the status, the content type and the body. A BODY of @FILE is read
// from a file.
func httpCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: http METHOD PATH [BODY [HEADER: VALUE]…]")
	}
	var body io.Reader = http.NoBody
	if len(args) > 2 && args[2] != "" {
		text := args[2]
		if name, ok := strings.CutPrefix(text, "@"); ok {
			text = ts.ReadFile(name)
		}
		body = strings.NewReader(os.Expand(text, ts.Getenv))
	}
	req, err := http.NewRequest(args[0], target(ts, args[1]), body)
	ts.Check(err)
	for _, header := range args[min(3, len(args)):] {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	client := &http.Client{Transport: browse, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d %s\n%s\n", resp.StatusCode, resp.Header.Get("Content-Type"), answer)
}

// awaitCmd: await TEXT berth ARG… repeats a command of ours until its output holds a text.
func awaitCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: await TEXT COMMAND…")
	}
	ctx, cancel := context.WithTimeout(context.Background(), berthdtest.ReadyWithin)
	defer cancel()
	var last []byte
	for ctx.Err() == nil {
		cmd := exec.CommandContext(ctx, filepath.Join(bin, args[1]), args[2:]...)
		cmd.Dir = ts.MkAbs(".")
		cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"))
		for name, value := range serverOf(ts).Vars {
			cmd.Env = append(cmd.Env, name+"="+value)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		last, _ = cmd.CombinedOutput()
		if strings.Contains(string(last), args[0]) {
			return
		}
		time.Sleep(50 * time.Millisecond) // the story of somebody who polls
	}
	ts.Fatalf("no %q in the output of %s:\n%s\n%s", args[0], strings.Join(args[1:], " "), last, serverOf(ts).Log())
}

// goneCmd: gone PATTERN waits until no file matches.
func goneCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: gone PATTERN")
	}
	var left []string
	for deadline := time.Now().Add(berthdtest.ReadyWithin); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var err error
		left, err = filepath.Glob(args[0])
		ts.Check(err)
		if len(left) == 0 {
			return
		}
	}
	ts.Fatalf("still there: %v", left)
}

// holdsCmd: holds FILE PATTERN waits until a line of a file matches.
func holdsCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: holds FILE PATTERN")
	}
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	var text string
	for deadline := time.Now().Add(berthdtest.ReadyWithin); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		text = ts.ReadFile(args[0])
		if pattern.MatchString(text) {
			return
		}
	}
	ts.Fatalf("no line of %s matches %s:\n%s", args[0], args[1], text)
}

// postgresCmd: postgres sets POSTGRES to the address of an empty database.
func postgresCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 0 || neg {
		ts.Fatalf("usage: postgres")
	}
	dsn, err := postgres.Database(context.Background())
	ts.Check(err)
	ts.Setenv("POSTGRES", dsn)
}

// killshimCmd: killshim NUMBER [NODE] kills the shim of a job's container, that of the first node or of NODE, which is 2 or more.
func killshimCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 1 || len(args) > 2 || neg {
		ts.Fatalf("usage: killshim NUMBER [NODE]")
	}
	pattern := "containerd-shim-runc-v2 .*-id berth-" + strings.Join(args, "-[a-z0-9]*-") + "[-a-z0-9]* -address " + private.StateDir(serverOf(ts).Data)
	ts.Check(ts.Exec("pkill", "-KILL", "-f", pattern))
}

// fullCmd: full DIR waits until the file system of a directory has no room left.
func fullCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: full DIR")
	}
	for deadline := time.Now().Add(berthdtest.ReadyWithin); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var fs syscall.Statfs_t
		ts.Check(syscall.Statfs(args[0], &fs))
		if fs.Bavail == 0 {
			return
		}
	}
	ts.Fatalf("%s is not full", args[0])
}

// attemptCmd: attempt PROGRAM ARG… runs a program that may lose its answer to a crash.
func attemptCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) == 0 || neg {
		ts.Fatalf("usage: attempt PROGRAM ARG…")
	}
	if err := ts.Exec(args[0], args[1:]...); err != nil {
		ts.Logf("%s: %v", args[0], err)
	}
}

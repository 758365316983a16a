package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/internal/agentapi"
)

func TestBinaryIsSmall(t *testing.T) {
	t.Parallel()
	info, err := os.Stat(needContainers(t))
	must(t, err)
	if info.Size() > 8<<20 {
		t.Errorf("berth-init has %d bytes; want at most 8 MiB", info.Size())
	}
}

func TestExitCodes(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		script string
		code   int
		signal int
		output string
	}{
		"success":               {"echo 42", 0, 0, "42\n"},
		"failure":               {"echo no >&2; exit 3", 3, 0, "no\n"},
		"script":                {"#!/bin/sh -e\necho a\nfalse\necho b\n", 1, 0, "a\n"},
		"no newline at the end": {"#!/bin/sh\nprintf x; exit 255", 255, 0, "x"},
		"killed":                {"kill -SEGV $$", 128 + 11, 11, ""},
		"killed by KILL":        {"kill -KILL $$", 128 + 9, 9, ""},
		"no such command":       {"nonsense", 127, 0, opt + "jobscript: line 1: nonsense: not found\n"},
		"no such interpreter":   {"#!/no/such/thing -x\n", 127, 0, "berth-init: the script asks for \"/no/such/thing\": no such file or directory\n"},
		"no interpreter at all": {"#!/etc\n", 126, 0, "berth-init: the script asks for \"/etc\": permission denied\n"},
		"interpreter unnamed":   {"#!\necho a\n", 0, 0, "a\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := newBundle(t, test.script).run()
			if got.code != test.code || got.report.ExitCode != test.code || got.report.Signal != test.signal {
				t.Errorf("exit code %d, report %+v; want exit code %d, signal %d", got.code, got.report, test.code, test.signal)
			}
			if got.report.Started.IsZero() || got.report.Ended.Before(got.report.Started) || got.report.Error != "" {
				t.Errorf("report %+v; want a start, then an end, and no error", got.report)
			}
			if diff := cmp.Diff(test.output, got.output); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

const opt = "/opt/JARVICE/"

func TestInitLines(t *testing.T) {
	t.Parallel()
	got := newBundle(t, "true").run()
	want := "INIT[1]: Configuring user: nimbix nimbix 505...\n" +
		"INIT[1]: Initializing networking...\n" +
		"INIT[1]: Finalizing setup in application environment...\n" +
		"INIT[1]: Waiting for job configuration before executing application...\n" +
		"INIT[1]: hostname: jarvice-job-7\n" +
		"INIT[1]: HOME=/home/nimbix\n"
	if diff := cmp.Diff(want, got.init); diff != "" {
		t.Errorf("INIT lines (-want +got):\n%s", diff)
	}
}

// TestWhatTheCommandSees runs on an image without any account, home or /tmp, whose root only root may enter.
func TestWhatTheCommandSees(t *testing.T) {
	t.Parallel()
	b := newBundle(t, `id; id -Gn; pwd; umask; echo $0; readlink /proc/self/fd/0; hostname
ps -o pid,ppid,pgid,sid,comm | grep 'PID\|jobscript' | head -1 >/dev/null
cut -d' ' -f5,6 /proc/$$/stat; echo $$
echo "$HOME $USER $LOGNAME $SHELL $HOSTNAME $FROM_IMAGE $JOB_NAME $JOB_LABEL $JARVICE_VAULT_NAME $PATH"
echo $JARVICE_ID_USER $JARVICE_ID_GROUP $JARVICE_ID_UID $JARVICE_ID_GID
touch /data/mine $HOME/mine /tmp/mine && ls -l $0 | cut -d' ' -f1-5
cat /etc/JARVICE/nodes /etc/JARVICE/cores /var/JARVICE/c/hosts /etc/JARVICE/jobinfo.sh /etc/JARVICE/jobenv.sh /etc/hosts /etc/resolv.conf
`)
	b.spec.Nameservers = []string{"192.0.2.53"}
	b.spec.Search = []string{"example.org"}
	must(t, os.Remove(filepath.Join(b.root, "tmp")), os.Chmod(b.root, 0o700))
	got := b.run()
	want := `uid=505(nimbix) gid=505(nimbix)
nimbix
/home/nimbix
0022
/opt/JARVICE/jobscript
/dev/null
jarvice-job-7
PGRP SESSION
PID
/home/nimbix nimbix nimbix /bin/sh jarvice-job-7 yes 20230906104200-995TB-jarvice-batch-me_s1 my label ephemeral /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
nimbix nimbix 505 505
-r-x------    1
jarvice-job-7
jarvice-job-7
jarvice-job-7
127.0.0.1 jarvice-job-7
:
JOB_NAME="20230906104200-995TB-jarvice-batch-me_s1"
JOB_LABEL='my label'
JOB_PRIVATEIP=
JOB_PUBLICIP=
:
JARVICE_VAULT_NAME=\e\p\h\e\m\e\r\a\l
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
127.0.0.1	jarvice-job-7
nameserver 192.0.2.53
search example.org
`
	// The command leads its own process group in the agent's session.
	output := regexp.MustCompile(`(?m)^(\d+) (\d+)\n(\d+)$`).ReplaceAllStringFunc(got.output, func(ids string) string {
		f := strings.Fields(ids)
		if f[0] == f[2] && f[1] == "1" {
			return "PGRP SESSION\nPID"
		}
		return ids
	})
	if diff := cmp.Diff(want, output); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
	if got.code != 0 {
		t.Errorf("exit code %d; want 0", got.code)
	}
	info, err := os.Stat(b.data)
	must(t, err)
	if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 505 || owner.Gid != 505 {
		t.Errorf("/data belongs to %d:%d; want 505:505", owner.Uid, owner.Gid)
	}
}

func TestPrivileges(t *testing.T) {
	t.Parallel()
	for name, capabilities := range map[string][]string{"as started by the engine": nil, "with CAP_SETPCAP": {"CAP_SETPCAP"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBundle(t, `grep 'Cap\|NoNewPrivs\|Groups' /proc/self/status
ls /run/berth; cat /run/berth/spec.json; ls /proc/1/fd; ls /proc/1/root/; echo x > /run/berth/output; kill -9 1
id`)
			b.capabilities = append(b.capabilities, capabilities...)
			got := b.run().output
			want := `Groups:	 
CapInh:	0000000000000000
CapPrm:	0000000000000000
CapEff:	0000000000000000
CapBnd:	00000000000000fb
CapAmb:	0000000000000000
NoNewPrivs:	1
ls: can't open '/run/berth': Permission denied
cat: can't open '/run/berth/spec.json': Permission denied
ls: can't open '/proc/1/fd': Permission denied
ls: /proc/1/root/: Permission denied
/opt/JARVICE/jobscript: line 2: can't create /run/berth/output: Permission denied
sh: can't kill pid 1: Operation not permitted
uid=505(nimbix) gid=505(nimbix)
`
			if capabilities != nil {
				want = strings.Replace(want, "fb\n", "00\n", 1)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("output (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOutputIsExact(t *testing.T) {
	t.Parallel()
	const lines, pad = 20_000, 256
	padding := strings.Repeat("x", pad)
	var want strings.Builder
	for i := range lines {
		fmt.Fprintf(&want, "out %d %s\nerr %d %s\n", i, padding, i, padding)
	}
	got := newBundle(t, fmt.Sprintf(`i=0
while [ $i -lt %d ]; do
  echo "out $i %s"
  echo "err $i %s" >&2
  i=$((i+1))
done`, lines, padding, padding)).run()
	if got.output != want.String() {
		t.Errorf("%d bytes of output; want %d, and the same", len(got.output), want.Len())
	}
}

func TestStdoutCanBeReopened(t *testing.T) {
	t.Parallel()
	got := newBundle(t, "echo a > /dev/stdout; echo b > /dev/stderr; echo c >> /proc/self/fd/1; echo d").run()
	if diff := cmp.Diff("a\nb\nc\nd\n", got.output); diff != "" {
		t.Errorf("output (-want +got):\n%s", diff)
	}
}

func TestNothingOutlivesTheCommand(t *testing.T) {
	t.Parallel()
	b := newBundle(t, `(trap '' TERM HUP; sleep 1000) &
setsid sleep 1000 &
(setsid sh -c 'echo late; echo up > /data/up; exec sleep 1000' &)
read up < /data/up
echo "$up, and main ends"
exit 4`)
	must(t, syscall.Mkfifo(filepath.Join(b.data, "up"), 0o666), os.Chmod(filepath.Join(b.data, "up"), 0o666))
	got := b.run()
	if got.code != 4 || got.output != "late\nup, and main ends\n" {
		t.Errorf("exit code %d, output %q; want 4 and the output of both", got.code, got.output)
	}
}

func TestOrphansAreReaped(t *testing.T) {
	t.Parallel()
	got := newBundle(t, `i=0
while [ $i -lt 200 ]; do (true &); i=$((i+1)); done
i=0
while grep -qs 'State:.Z' /proc/[0-9]*/status; do
  i=$((i+1)); [ $i -lt 1000 ] || { echo zombies; exit 1; }
  sleep 0.01
done`).run()
	if got.code != 0 {
		t.Errorf("exit code %d, output %q; want no zombies", got.code, got.output)
	}
}

func TestSignals(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		script string
		grace  time.Duration
		send   []string
		code   int
		output string
	}{
		"SIGTERM is forwarded": {"trap 'echo bye; exit 9' TERM\nBEGUN\nwait", time.Hour, []string{"TERM"}, 9, "bye\n"},
		"to the whole group": {
			"setsid sleep 1000 &\nsh -c \"trap 'sleep 0.1; echo child; exit' TERM; sh -c 'echo > /data/up; exec sleep 1000' & wait\" &\nwait",
			time.Hour,
			[]string{"TERM"},
			128 + 15, "child\n",
		},
		"to a suspended command": {"trap 'echo bye; exit 9' TERM\nSUSPENDED\nwait", time.Hour, []string{"TERM"}, 9, "bye\n"},
		"a stubborn command":     {"trap '' TERM\nBEGUN\nwait", time.Millisecond, []string{"TERM"}, 128 + 9, ""},
		"SIGUSR1 ends it now":    {"trap '' TERM USR1\nBEGUN\nwait", time.Hour, []string{"USR1"}, 128 + 9, ""},
		"after a SIGTERM too":    {"trap '' TERM USR1\nBEGUN\nwait", time.Hour, []string{"TERM", "TERM", "USR1"}, 128 + 9, ""},
		"others mean nothing":    {"trap 'exit 9' TERM HUP INT QUIT USR2 ALRM\nBEGUN\nwait", time.Hour, []string{"HUP", "INT", "QUIT", "USR2", "ALRM", "PIPE", "TSTP", "USR1"}, 128 + 9, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			script := strings.NewReplacer(
				"SUSPENDED", "sh -c 'kill -STOP '$$'; grep -q State:.T /proc/'$$'/status; echo > /data/up; sleep 1000' &",
				"BEGUN", "(trap '' TERM HUP INT QUIT USR1 USR2 ALRM; echo > /data/up; sleep 1000) &",
			).Replace(test.script)
			b := newBundle(t, script)
			b.spec.Grace = test.grace
			up := b.fifo("up")
			c := b.start()
			up()
			for _, signal := range test.send {
				c.signal(signal)
			}
			got := c.wait()
			if got.code != test.code || got.report.ExitCode != test.code || got.output != test.output {
				t.Errorf("exit code %d, output %q, report %+v; want %d and %q", got.code, got.output, got.report, test.code, test.output)
			}
		})
	}
}

// limited gives the job's directory a file system of its own size.
func (b *bundle) limited(size string) (resize func(size string)) {
	must(b.t, syscall.Mount("tmpfs", b.dir, "tmpfs", 0, "mode=700,size="+size))
	b.t.Cleanup(func() { _ = syscall.Unmount(b.dir, syscall.MNT_DETACH) })
	return func(size string) {
		must(b.t, syscall.Mount("tmpfs", b.dir, "tmpfs", syscall.MS_REMOUNT, "mode=700,size="+size))
	}
}

func TestFullDiskLosesNothing(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "seq 1 300000")
	resize := b.limited("300k")
	c := b.start()
	c.awaitLog("the job waits")
	resize("600k")
	c.awaitLog("the job waits")
	resize("16m")
	got := c.wait()
	var want strings.Builder
	for i := 1; i <= 300_000; i++ {
		fmt.Fprintln(&want, i)
	}
	if got.output != want.String() || got.code != 0 {
		t.Errorf("%d bytes of output, exit code %d; want %d bytes, and the same, and 0", len(got.output), got.code, want.Len())
	}
	if got.report.OutputBlocked <= 0 {
		t.Errorf("report %+v; want it to say that the output was blocked", got.report)
	}
}

func TestFullDiskAtTheStart(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "echo done")
	resize := b.limited("64k")
	must(t, os.WriteFile(filepath.Join(b.dir, agentapi.SpecFile), b.specText(), 0o600))
	filler := make([]byte, 64<<10)
	if err := os.WriteFile(filepath.Join(b.dir, "filler"), filler, 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	c := b.start()
	c.awaitLog("the job waits")
	resize("128k")
	if got := c.wait(); got.code != 0 || got.output != "done\n" || !strings.HasPrefix(got.init, "INIT[1]: Configuring user") {
		t.Errorf("%+v; want it to run after all", got)
	}
}

func TestOutOfMemoryIsCounted(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "dd if=/dev/zero of=/dev/null bs=200M count=1; echo \"dd: $?\"; exit 7")
	b.memory = 64 << 20
	got := b.run()
	if got.report.OOMKills == 0 || got.code != 7 {
		t.Errorf("exit code %d, report %+v, output %q; want 7 and a kill", got.code, got.report, got.output)
	}
}

func TestInvalidSpec(t *testing.T) {
	t.Parallel()
	b := newBundle(t, "true")
	must(t, os.WriteFile(filepath.Join(b.dir, agentapi.SpecFile), []byte("{"), 0o600))
	got := b.run()
	want := "INIT[1]: ERROR: invalid job specification: unexpected end of JSON input\n"
	if got.code != agentapi.ExitSetup || got.init != want || got.report.Error == "" || !got.report.Started.IsZero() || got.report.Ended.IsZero() {
		t.Errorf("%+v; want exit code %d and %q", got, agentapi.ExitSetup, want)
	}
}

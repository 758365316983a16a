package agent

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// TestOutputRetries writes to a file that takes little at a time and often nothing.
func TestOutputRetries(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	failures := []error{unix.ENOSPC, unix.EDQUOT, unix.EIO, unix.EINTR, unix.EROFS, nil}
	var got bytes.Buffer
	out := &output{
		write: func(p []byte) (int, error) {
			if random.IntN(3) == 0 {
				return 0, failures[random.IntN(len(failures))]
			}
			return got.Write(p[:1+random.IntN(len(p))])
		},
		pause: func(time.Duration) {},
		log:   t.Output(),
	}
	var want bytes.Buffer
	for range 500 {
		piece := make([]byte, 1+random.IntN(1000))
		for i := range piece {
			piece[i] = byte(random.IntN(256))
		}
		want.Write(piece)
		if n, err := out.Write(piece); n != len(piece) || err != nil {
			t.Fatalf("Write = %d, %v", n, err)
		}
	}
	if !bytes.Equal(want.Bytes(), got.Bytes()) {
		t.Errorf("%d bytes arrived; want %d, and the same", got.Len(), want.Len())
	}
}

func TestOutputPauses(t *testing.T) {
	t.Parallel()
	var pauses []time.Duration
	var log strings.Builder
	left := 10
	out := &output{
		write: func(p []byte) (int, error) {
			if left--; left >= 0 {
				return 0, unix.ENOSPC
			}
			return len(p), nil
		},
		pause: func(d time.Duration) { pauses = append(pauses, d) },
		log:   &log,
	}
	out.say("a\nb %d", 1)
	var want []time.Duration
	var sum time.Duration
	for _, ms := range []time.Duration{10, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000} {
		want = append(want, ms*time.Millisecond)
		sum += ms * time.Millisecond
	}
	if diff := cmp.Diff(want, pauses); diff != "" {
		t.Errorf("pauses (-want +got):\n%s", diff)
	}
	if out.blocked != sum {
		t.Errorf("blocked for %v; want %v", out.blocked, sum)
	}
	if want := "berth-init: the job waits because its output cannot be written: no space left on device\n"; log.String() != want {
		t.Errorf("log %q; want %q", log.String(), want)
	}
}

func TestUntilRoom(t *testing.T) {
	t.Parallel()
	results := []error{unix.ENOSPC, unix.EIO, unix.EACCES, nil}
	err := untilRoom(func() error {
		next := results[0]
		results = results[1:]
		return next
	})
	if !errors.Is(err, unix.EACCES) || len(results) != 1 {
		t.Errorf("untilRoom = %v with %d attempts left; want the first error that waiting cannot mend", err, len(results))
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.home, s.shell = "/home/nimbix", "/bin/sh"
	s.spec.Env = map[string]string{"A": "job", "C": "job", "SLURM_X": "1"}
	for _, promised := range []string{
		"HOME", "USER", "LOGNAME", "SHELL", "HOSTNAME", "PATH", "JARVICE_ID_UID", "JARVICE_JOBTOKEN", "JARVICE_NEW", "JOB_NAME", "JOB_LABEL",
		"JOB_PRIVATEIP", "JOB_PUBLICIP",
	} {
		s.spec.Env[promised] = "the client's"
	}
	s.spec.Variables = []agentapi.Setting{{Key: "C", Value: "early"}, {Key: "C", Value: "late"}}
	s.spec.Random = "random"
	got := s.environment([]string{"A=image", "B=image=1", "HOME=/root", "broken", "=x", "PATH=", "JOB_NAME=image"})
	want := []string{
		"A=job", "B=image=1", "C=late", "HOME=/home/nimbix", "HOSTNAME=n1", "JARVICE_ID_GID=505", "JARVICE_ID_GROUP=nimbix", "JARVICE_ID_UID=505",
		"JARVICE_ID_USER=nimbix", "JARVICE_JOBTOKEN=random", "JOB_LABEL=", "JOB_NAME=a-job", "JOB_PRIVATEIP=", "JOB_PUBLICIP=", "LOGNAME=nimbix", "PATH=" + defaultPath,
		"SHELL=/bin/sh", "SLURM_X=1", "USER=nimbix",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

func TestInterpreter(t *testing.T) {
	t.Parallel()
	for script, want := range map[string]string{
		"#!/bin/bash -e\necho": "/bin/bash", "#! /usr/bin/env python3": "/usr/bin/env", "echo #!/bin/sh": "", "#!\n/bin/sh": "", "": "", "\n#!/bin/sh": "",
	} {
		if got := interpreter(script); got != want {
			t.Errorf("interpreter(%q) = %q; want %q", script, got, want)
		}
	}
}

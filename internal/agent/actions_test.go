package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
)

func TestReadActions(t *testing.T) {
	t.Parallel()
	save := map[string]agentapi.Action{"save": {Args: "touch x > y", Alt: "Saves"}}
	named := map[string]agentapi.Action{"actions": {Args: "ls"}}
	for name, test := range map[string]struct {
		text string
		want map[string]agentapi.Action
		bad  bool
	}{
		"bare":                 {`{"save": {"args": "touch x > y", "alt": "Saves"}}`, save, false},
		"with the outer key":   {`{"actions": {"save": {"args": "touch x > y", "alt": "Saves"}}}`, save, false},
		"unknown keys":         {`{"version": 2, "actions": {"save": {"args": "touch x > y", "alt": "Saves", "icon": [1]}, "n": 1}}`, save, false},
		"unknown keys, bare":   {`{"$schema": "x", "save": {"args": "touch x > y", "alt": "Saves", "icon": [1]}}`, save, false},
		"one that is named so": {`{"actions": {"args": "ls"}}`, named, false},
		"without a command":    {`{"save": {"alt": "Saves"}, "load": {"args": ""}, "list": {"args": ["ls"]}}`, nil, false},
		"a name too long":      {`{"` + strings.Repeat("x", 257) + `": {"args": "ls"}, "save": {"args": "touch x > y", "alt": "Saves"}}`, save, false},
		"empty":                {`{}`, nil, false},
		"no actions":           {`{"actions": {}}`, nil, false},
		"no object":            {`[]`, nil, true},
		"cut off":              {`{"save": {"args": "`, nil, true},
		"nothing":              {``, nil, true},
		"too big":              {`{"save": {"args": "` + strings.Repeat("x", maxActions) + `"}}`, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSetup(t)
			s.put(agentapi.ActionsFile, test.text)
			got, err := readActions(s.root)
			if (err != nil) != test.bad {
				t.Errorf("error %v; want one: %t", err, test.bad)
			}
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("actions (-want +got):\n%s", diff)
			}
		})
	}
}

// TestReadActionsElsewhere: the file is the image's or there is none.
func TestReadActionsElsewhere(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	if actions, err := readActions(s.root); len(actions) != 0 || err != nil {
		t.Errorf("an image without the file: %v, %v; want nothing", actions, err)
	}
	secret := filepath.Join(t.TempDir(), "secret.json")
	path := filepath.Join(s.dir, agentapi.ActionsFile)
	for _, err := range []error{
		os.WriteFile(secret, []byte(`{"secret": {"args": "x"}}`), 0o600),
		os.MkdirAll(filepath.Dir(path), 0o755),
		os.Symlink(secret, path),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if actions, err := readActions(s.root); len(actions) != 0 || err != nil {
		t.Errorf("through a symlink out of the root: %v, %v; want nothing", actions, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if actions, err := readActions(s.root); err == nil {
		t.Errorf("from a FIFO: %v; want an error", actions)
	}
}

// TestOverrideTakesTooLong: the supervisor is asked to kill the program, whose end is awaited.
func TestOverrideTakesTooLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSupervisor(signals{}, command{}, 0, 0)
		ended := make(chan unix.WaitStatus, 1)
		began := time.Now()
		go func() {
			f := <-s.work
			if waited := time.Since(began); waited != overrideTime || waited >= agentapi.AnswerWithin {
				t.Errorf("killed after %v; want %v, before the server stops to listen", waited, overrideTime)
			}
			f()
			ended <- 9
		}()
		if _, err := (&control{supervisor: s}).await(1, ended); err == nil {
			t.Error("no error")
		}
	})
}

package control

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine/fake"
)

func TestOpenShell(t *testing.T) {
	b := newBench(t)
	job, run := b.runApp(t, `,"interactive":true`, "")
	size := agentapi.TerminalSize{Columns: 80, Rows: 24}
	session, err := b.Enter(t.Context(), Visitor{Token: run.Password}, job.Number)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		visitor  Visitor
		by, from string
	}{
		{Visitor{Caller: b.tess}, "tess", "192.0.2.7"},
		{Visitor{Sessions: []string{session}, From: "192.0.2.9"}, "ada", "192.0.2.9"},
	} {
		terminal, err := b.OpenShell(t.Context(), tt.visitor, job.Number, size)
		if err != nil {
			t.Fatal(err)
		}
		if frame, err := terminal.Read(); err != nil || !strings.Contains(string(frame.Data), "80x24") {
			t.Errorf("%q, %v", frame.Data, err)
		}
		_ = terminal.Close()
		act := b.lastRecord(t).Act
		if act.Kind != berth.ActShellOpened || act.By != tt.by || act.From != tt.from || act.Subject != strconv.FormatInt(job.Number, 10) {
			t.Errorf("recorded %+v", act)
		}
	}
	terminals, _ := b.runApp(t, `,"webshell":true`, "")
	terminal, err := b.OpenShell(t.Context(), Visitor{Caller: b.ada}, terminals.Number, size)
	if err != nil {
		t.Fatal(err)
	}
	if frame, err := terminal.Read(); err != nil || !strings.Contains(string(frame.Data), "fake command") {
		t.Errorf("the terminal of a command shows %q, %v", frame.Data, err)
	}
	_ = terminal.Close()
	for _, tt := range []struct {
		visitor Visitor
		kind    berth.Kind
		text    string
	}{
		{Visitor{}, berth.Unauthenticated, "Unauthorized"},
		{Visitor{Token: "guess"}, berth.Unauthenticated, "Unauthorized"},
		{Visitor{Caller: b.bob}, berth.NotFound, "Not found"},
		{Visitor{Caller: b.reader}, berth.Forbidden, "This key may only read"},
	} {
		_, err := b.OpenShell(t.Context(), tt.visitor, job.Number, size)
		wantError(t, err, tt.kind, tt.text)
		_, err = b.Enter(t.Context(), tt.visitor, job.Number)
		wantError(t, err, tt.kind, tt.text)
	}
	b.engine.Fail(fake.OpenShell, &agentapi.Error{Code: agentapi.CodeFailed, Text: "no terminals"})
	_, err = b.OpenShell(t.Context(), Visitor{Caller: b.ada}, job.Number, size)
	wantError(t, err, berth.Unavailable, "Shell not started: no terminals")
	b.apply(t, job.Number, berth.EventEnded)
	_, err = b.OpenShell(t.Context(), Visitor{Caller: b.ada}, job.Number, size)
	wantError(t, err, berth.NotFound, "Running job is not found")
	_, err = b.Enter(t.Context(), Visitor{Caller: b.ada}, job.Number)
	wantError(t, err, berth.NotFound, "Running job is not found")
}

// TestAShellEndsWithItsKey, also when that goes before the watch begins.
func TestAShellEndsWithItsKey(t *testing.T) {
	b := newBench(t)
	job, _ := b.runApp(t, `,"interactive":true`, "")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.UntilRevoked(t.Context(), b.ada, job.Number)
	}()
	if err := b.RevokeKey(t.Context(), b.admin, "ada", "ada"); err != nil {
		t.Fatal(err)
	}
	<-ended
	b.UntilRevoked(t.Context(), b.ada, job.Number)
}

// TestLoggedOut: a login ends with its key or with its user's rights, and not with another key.
func TestLoggedOut(t *testing.T) {
	for name, end := range map[string]func(context.Context, *bench) error{
		"key": func(ctx context.Context, b *bench) error { return b.RevokeKey(ctx, b.admin, "ada", "ada") },
		"user": func(ctx context.Context, b *bench) error {
			_, err := b.ChangeUser(ctx, b.admin, "ada", berth.UserChange{Disabled: new(true)})
			return err
		},
		"team": func(ctx context.Context, b *bench) error {
			_, err := b.ChangeUser(ctx, b.admin, "ada", berth.UserChange{Team: new("")})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			other, err := b.AddKey(t.Context(), b.admin, "ada", KeyRequest{})
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				b.UntilLoggedOut(t.Context(), b.ada)
			}()
			first := b.rightsWatch(t, "ada", nil, ended)
			if err := b.RevokeKey(t.Context(), b.admin, "ada", other.ID); err != nil {
				t.Fatal(err)
			}
			b.rightsWatch(t, "ada", first, ended)
			if err := end(t.Context(), b); err != nil {
				t.Fatal(err)
			}
			<-ended
			b.UntilLoggedOut(t.Context(), b.ada) // also when it goes before the watch begins
		})
	}
}

// rightsWatch waits until a user's rights are watched by another watch than before, and returns it.
func (b *bench) rightsWatch(t *testing.T, user string, before *watch, ended <-chan struct{}) *watch {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		select {
		case <-ended:
			t.Fatal("it ended too early")
		default:
		}
		b.cfg.Changes.mu.Lock()
		watches := slices.Collect(maps.Keys(b.cfg.Changes.watches[topic{rights: user}]))
		b.cfg.Changes.mu.Unlock()
		if len(watches) == 1 && watches[0] != before {
			return watches[0]
		}
	}
	t.Fatal("nobody watches")
	return nil
}

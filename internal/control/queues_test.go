package control

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

func TestQueues(t *testing.T) {
	b := newBench(t)
	b.addApp(t, b.admin, "app", simpleAppDef)
	small, work := berth.Queue{Name: "default", Machine: "n0", Size: 1}, berth.Queue{Name: "work", Application: "app", Machine: "n1", Size: 4}
	b.setQueue(t, small)
	b.setQueue(t, work)
	for name, want := range map[string][]berth.Queue{"": {small, work}, "all": {small, work}, "work": {work}} {
		got, err := b.Queues(t.Context(), b.bob, name)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("queues %q: %v\n%s", name, err, diff)
		}
	}
	_, err := b.Queues(t.Context(), b.bob, "zz")
	wantError(t, err, berth.NotFound, "Queue not found")
	wantError(t, b.RemoveQueue(t.Context(), b.admin, "default"), berth.Conflict, "The default queue is always there")
	wantError(t, b.RemoveQueue(t.Context(), b.admin, "zz"), berth.NotFound, "Queue not found")
	wantError(t, b.RemoveApplication(t.Context(), b.admin, "app"), berth.Conflict, "The application belongs to a queue")
	if err := b.RemoveQueue(t.Context(), b.admin, "work"); err != nil {
		t.Error(err)
	}
	for text, queue := range map[string]berth.Queue{
		"Invalid parameter(s): name: ":         {Name: "a b", Machine: "n0", Size: 1},
		"Invalid parameter(s): name: all":      {Name: "all", Machine: "n0", Size: 1},
		"Invalid parameter(s): machine: ":      {Name: "q", Machine: "zz", Size: 1},
		"Invalid parameter(s): size: 0":        {Name: "q", Machine: "n0"},
		"There is no application of that name": {Name: "q", Machine: "n0", Size: 1, Application: "zz"},
	} {
		wantError(t, b.SetQueue(t.Context(), b.admin, queue), berth.Invalid, text)
	}
}

func TestVariablesOfAccounts(t *testing.T) {
	b := newBench(t)
	for _, v := range [][2]string{{"LICENSE_1", "1055@host"}, {"_A", "x"}, {"_A", ""}} {
		if err := b.SetVariable(t.Context(), b.ada, "ada", v[0], v[1]); err != nil {
			t.Fatal(err)
		}
	}
	act := b.lastRecord(t).Act
	if act.Kind != berth.ActVariableSet || act.Subject != "ada" || act.Detail != "removed _A" {
		t.Errorf("recorded %+v", act)
	}
	acts, err := b.Audit(t.Context(), b.admin, AuditFilter{Subject: "ada"})
	if err != nil || strings.Contains(asJSON(t, acts), "1055@host") {
		t.Errorf("the log holds the value of a variable (%v)", err)
	}
	for _, caller := range []berth.Caller{b.ada, b.admin} {
		got, err := b.Variables(t.Context(), caller, "ada")
		if diff := cmp.Diff(map[string]string{"LICENSE_1": "1055@host"}, got); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	for _, caller := range []berth.Caller{b.bob, b.paul, b.tess} {
		_, err := b.Variables(t.Context(), caller, "ada")
		wantError(t, err, berth.NotFound, "User not found")
	}
	for _, caller := range []berth.Caller{b.reader, b.readerRoot} {
		_, err := b.Variables(t.Context(), caller, "ada")
		wantError(t, err, berth.Forbidden, "This key may only read")
	}
	_, err = b.Variables(t.Context(), b.admin, "nobody")
	wantError(t, err, berth.NotFound, "User not found")
	wantError(t, b.SetVariable(t.Context(), b.admin, "nobody", "A", "1"), berth.NotFound, "User not found")
	for name, value := range map[string]string{"": "1", "1A": "1", "A-B": "1", "A": "\x00", "B": "\xff", "C": strings.Repeat("x", 5000)} {
		wantError(t, b.SetVariable(t.Context(), b.ada, "ada", name, value), berth.Invalid, "Invalid parameter(s): ")
	}
}

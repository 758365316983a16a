package control

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/berth-hpc/berth"
)

// TestDefinitionsOfAListing: the AppDefs are read one by one, as they are then.
func TestDefinitionsOfAListing(t *testing.T) {
	b := newBench(t)
	b.addApp(t, b.admin, "app", simpleAppDef, func(r *ApplicationRequest) { r.Public = true })
	listed := func() berth.Application {
		t.Helper()
		apps, err := b.Applications(t.Context(), b.bob, ApplicationsFilter{})
		if err != nil || len(apps) != 1 || apps[0].AppDef != "" || strings.Join(apps[0].Commands, " ") != "Run" {
			t.Fatalf("%+v, %v", apps, err)
		}
		return apps[0]
	}
	app := listed()
	for range 2 { // read, and kept
		definition, err := b.Definition(t.Context(), b.bob, app)
		if err != nil || definition.Name != "A" || !strings.HasPrefix(string(definition.Wire), `{"name":"A"`) {
			t.Errorf("%s, %v", definition.Wire, err)
		}
	}
	renamed := []byte(strings.Replace(simpleAppDef, `"name":"A"`, `"name":"B"`, 1))
	if _, err := b.ChangeApplication(t.Context(), b.admin, "app", ApplicationChange{AppDef: renamed}); err != nil {
		t.Fatal(err)
	}
	if definition, err := b.Definition(t.Context(), b.bob, listed()); err != nil || definition.Name != "B" {
		t.Errorf("%s, %v", definition.Wire, err)
	}
	app = listed()
	if _, err := b.ChangeApplication(t.Context(), b.admin, "app", ApplicationChange{AppDef: []byte(simpleAppDef), Public: new(false)}); err != nil {
		t.Fatal(err)
	}
	b.appdefs.drop("app")
	_, err := b.Definition(t.Context(), b.bob, app)
	wantError(t, err, berth.NotFound, "Application Not Found")
}

// TestKeptDefinitionsAreBounded: by what they take, and not by their number alone.
func TestKeptDefinitionsAreBounded(t *testing.T) {
	var a appdefs
	updated := time.Unix(1, 0)
	const each = maxDefinitionBytes / 10
	for i := range 100 {
		a.keep(strconv.Itoa(i%25), keptAppDef{updated: updated, bytes: each})
		if total := len(a.kept) * each; total != a.bytes || total > maxDefinitionBytes {
			t.Fatalf("%d bytes in %d AppDefs, counted %d", total, len(a.kept), a.bytes)
		}
		if _, ok := a.find(berth.Application{ID: strconv.Itoa(i % 25), Updated: updated}); !ok {
			t.Fatal("the last one is not kept")
		}
	}
	if len(a.kept) != 10 {
		t.Errorf("%d are kept, there is room for 10", len(a.kept))
	}
}

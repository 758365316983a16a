package control

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/fake"
	"github.com/berth-hpc/berth/internal/store"
)

func appIDs(apps []berth.Application) string {
	all := make([]string, len(apps))
	for i, app := range apps {
		all[i] = app.ID
	}
	return strings.Join(all, " ")
}

func TestValidate(t *testing.T) {
	b := newBench(t)
	if err := b.Validate(t.Context(), []byte(simpleAppDef)); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		"{": "Invalid AppDef: ", `{}`: "Invalid AppDef: ", strings.Replace(simpleAppDef, `"INT"`, `"NUM"`, 1): "Invalid AppDef: commands.Run.parameters.-n",
	} {
		wantError(t, b.Validate(t.Context(), []byte(text)), berth.Invalid, want)
	}
}

// TestWhoSeesWhichApplication: the owner, the team, administrators and, when it is public, everybody.
func TestWhoSeesWhichApplication(t *testing.T) {
	b := newBench(t)
	b.addApp(t, b.bob, "bobs", simpleAppDef)
	b.addApp(t, b.tess, "reds", simpleAppDef, func(r *ApplicationRequest) { r.Team = "red" })
	b.addApp(t, b.admin, "all-can", strings.Replace(simpleAppDef, `"appdefversion":2`, `"appdefversion":1`, 1),
		func(r *ApplicationRequest) { r.Public = true })
	for who, test := range map[string]struct {
		caller berth.Caller
		want   string
	}{
		"nobody": {berth.Caller{}, "all-can"}, "bob": {b.bob, "all-can bobs"}, "ada": {b.ada, "all-can reds"}, "root": {b.admin, "all-can bobs reds"},
	} {
		apps, err := b.Applications(t.Context(), test.caller, ApplicationsFilter{})
		if got := appIDs(apps); got != test.want || err != nil {
			t.Errorf("%s sees %q, %v; want %q", who, got, err, test.want)
		}
		for _, id := range []string{"all-can", "bobs", "reds", "none"} {
			_, err := b.Application(t.Context(), test.caller, id)
			if strings.Contains(test.want, id) {
				if err != nil {
					t.Errorf("%s and %s: %v", who, id, err)
				}
				continue
			}
			wantError(t, err, berth.NotFound, "Application Not Found")
		}
	}
	for filter, want := range map[ApplicationsFilter]string{
		{Name: "all"}: "all-can bobs reds", {Name: "bobs"}: "bobs", {Name: "none"}: "", {Version: 1}: "all-can", {Version: 2, Name: "reds"}: "reds",
	} {
		apps, err := b.Applications(t.Context(), b.admin, filter)
		if got := appIDs(apps); got != want || err != nil {
			t.Errorf("%+v selects %q, %v; want %q", filter, got, err, want)
		}
	}
}

func TestAddApplicationRefuses(t *testing.T) {
	b := newBench(t, func(c *Config) { c.Checker = answers{engine.ErrRefused} })
	b.addApp(t, b.ada, "taken", simpleAppDef)
	for name, test := range map[string]struct {
		caller berth.Caller
		change func(*ApplicationRequest)
		kind   berth.Kind
		text   string
	}{
		"taken":          {b.bob, func(r *ApplicationRequest) { r.ID = "taken" }, berth.Conflict, "There is an application of that name"},
		"no ID":          {b.bob, func(r *ApplicationRequest) { r.ID = "" }, berth.Invalid, "Invalid parameter(s): id: "},
		"odd ID":         {b.bob, func(r *ApplicationRequest) { r.ID = "a b" }, berth.Invalid, "Invalid parameter(s): id: "},
		"ID of batch":    {b.bob, func(r *ApplicationRequest) { r.ID = "jarvice-batch" }, berth.Invalid, "Invalid parameter(s): id: "},
		"ID of all":      {b.bob, func(r *ApplicationRequest) { r.ID = "all" }, berth.Invalid, "Invalid parameter(s): id: "},
		"public":         {b.paul, func(r *ApplicationRequest) { r.Public = true }, berth.Forbidden, "Only an administrator may make an application public"},
		"certified":      {b.paul, func(r *ApplicationRequest) { r.Certified = true }, berth.Forbidden, "Only an administrator may make an application public"},
		"member's team":  {b.ada, func(r *ApplicationRequest) { r.Team = "red" }, berth.Forbidden, "Only the payer and the administrators of a team"},
		"another's team": {b.bob, func(r *ApplicationRequest) { r.Team = "red" }, berth.Forbidden, "Only the payer and the administrators of a team"},
		"no such team":   {b.admin, func(r *ApplicationRequest) { r.Team = "blue" }, berth.Invalid, "Invalid parameter(s): team: "},
		"price":          {b.bob, func(r *ApplicationRequest) { r.Price = -1 }, berth.Invalid, "Invalid parameter(s): price: "},
		"no image":       {b.bob, func(r *ApplicationRequest) { r.Image = "" }, berth.Invalid, "Invalid image name"},
		"refused image":  {b.bob, func(r *ApplicationRequest) { r.Image = "gone" }, berth.Invalid, "Container cannot create Application"},
		"bad AppDef":     {b.bob, func(r *ApplicationRequest) { r.AppDef = []byte("{}") }, berth.Invalid, "Invalid AppDef: "},
		"empty AppDef":   {b.bob, func(r *ApplicationRequest) { r.AppDef = []byte{} }, berth.Invalid, "Invalid AppDef: "},
	} {
		t.Run(name, func(t *testing.T) {
			req := ApplicationRequest{ID: "new", Image: "local/x", AppDef: []byte(simpleAppDef)}
			test.change(&req)
			_, err := b.AddApplication(t.Context(), test.caller, req)
			wantError(t, err, test.kind, test.text)
		})
	}
	if apps, err := b.Applications(t.Context(), b.admin, ApplicationsFilter{}); appIDs(apps) != "taken" || err != nil {
		t.Errorf("applications %q, %v", appIDs(apps), err)
	}
}

// TestAppDefOfTheImage: an application without an AppDef takes the image's, and the image is pulled for it.
func TestAppDefOfTheImage(t *testing.T) {
	images := fake.New(fake.Config{
		Images: []string{localImage, "docker.io/local/none:latest"}, Registry: []string{"docker.io/library/far:latest"},
		Files: map[string]map[string][]byte{
			localImage: {appDefPath: []byte(simpleAppDef)}, "docker.io/library/far:latest": {appDefPath: []byte(simpleAppDef)},
		},
	})
	t.Cleanup(images.Close)
	b := newBench(t, func(c *Config) { c.Images = images })
	for id, ref := range map[string]string{"near": "local/x", "far": "far"} {
		app, err := b.AddApplication(t.Context(), b.ada, ApplicationRequest{ID: id, Image: ref})
		if err != nil || app.AppDef != simpleAppDef {
			t.Errorf("%s: %v\n%s", id, err, cmp.Diff(simpleAppDef, app.AppDef))
		}
	}
	_, err := b.AddApplication(t.Context(), b.ada, ApplicationRequest{ID: "none", Image: "local/none"})
	wantError(t, err, berth.Invalid, "The image has no AppDef")
	_, err = b.AddApplication(t.Context(), b.ada, ApplicationRequest{ID: "none", Image: "nowhere"})
	wantError(t, err, berth.Invalid, "Image refused")
	_, err = b.AddApplication(t.Context(), b.ada, ApplicationRequest{ID: "none", Image: "nowhere", PullSecret: "odd"})
	wantError(t, err, berth.Invalid, "Invalid pull secret")
}

func TestChangeApplication(t *testing.T) {
	b := newBench(t)
	before := b.addApp(t, b.ada, "app", simpleAppDef)
	yes, price, none := true, 2.5, ""
	if _, err := b.SubmitApplication(t.Context(), b.bob, appRequest("app")); berth.KindOf(err) != berth.NotFound {
		t.Fatal(err)
	}
	app, err := b.ChangeApplication(t.Context(), b.admin, "app", ApplicationChange{Public: &yes, Certified: &yes, Price: &price})
	if err != nil || !app.Public || !app.Certified || app.Price != price || !app.Updated.After(before.Updated) || app.Owner != "ada" {
		t.Errorf("changed %+v, %v", app, err)
	}
	if act := b.lastRecord(t).Act; act.Kind != berth.ActAppChanged || act.By != "root" || act.Subject != "app" {
		t.Errorf("recorded %+v", act)
	}
	b.submitApp(t, b.bob, appRequest("app")) // at once: it is public now

	_, err = b.ChangeApplication(t.Context(), b.bob, "app", ApplicationChange{Price: &price})
	wantError(t, err, berth.Forbidden, "Only its owner or an administrator may change an application")
	wantError(t, b.RemoveApplication(t.Context(), b.bob, "app"), berth.Forbidden, "Only its owner or an administrator")
	_, err = b.ChangeApplication(t.Context(), b.ada, "none", ApplicationChange{})
	wantError(t, err, berth.NotFound, "Application Not Found")

	// What the owner changes without touching what runs leaves the certificate.
	app, err = b.ChangeApplication(t.Context(), b.ada, "app", ApplicationChange{Team: &none, AppDef: []byte(simpleAppDef)})
	if err != nil || !app.Certified || !app.Public {
		t.Errorf("changed %+v, %v", app, err)
	}
	app, err = b.ChangeApplication(t.Context(), b.ada, "app", ApplicationChange{AppDef: []byte(strings.Replace(simpleAppDef, "/bin/run", "/bin/other", 1))})
	if err != nil || app.Certified || app.Public {
		t.Errorf("changed %+v, %v", app, err)
	}
	_, err = b.SubmitApplication(t.Context(), b.bob, appRequest("app"))
	wantError(t, err, berth.NotFound, "Application Not Found")
	if _, run := b.submitApp(t, b.ada, appRequest("app")); run.Shell != "/bin/other -n 2" {
		t.Errorf("the old AppDef is used: %s", run.Shell)
	}
	stored, err := b.Application(t.Context(), b.ada, "app")
	if diff := cmp.Diff(app, stored); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if err := b.RemoveApplication(t.Context(), b.ada, "app"); err != nil {
		t.Fatal(err)
	}
	_, err = b.SubmitApplication(t.Context(), b.ada, appRequest("app"))
	wantError(t, err, berth.NotFound, "Application Not Found")
}

// TestChangeOfWhatAQueueRuns: only an administrator changes what everybody runs by a queue.
func TestChangeOfWhatAQueueRuns(t *testing.T) {
	b := newBench(t)
	b.addApp(t, b.ada, "app", simpleAppDef)
	b.setQueue(t, berth.Queue{Name: "work", Application: "app", Machine: "n1", Size: 1})
	other := ApplicationChange{AppDef: []byte(strings.Replace(simpleAppDef, "/bin/run", "/bin/other", 1))}
	_, err := b.ChangeApplication(t.Context(), b.ada, "app", other)
	wantError(t, err, berth.Conflict, "The application belongs to a queue")
	if _, err := b.ChangeApplication(t.Context(), b.ada, "app", ApplicationChange{Price: new(2.0)}); err != nil {
		t.Error("the price:", err)
	}
	if _, err := b.ChangeApplication(t.Context(), b.admin, "app", other); err != nil {
		t.Error("by an administrator:", err)
	}
}

// overtaken is a store in which somebody else changes an application first.
type overtaken struct {
	Store
	first func()
}

func (o overtaken) ChangeApplication(ctx context.Context, app berth.Application, guard store.ApplicationGuard, act berth.Act) error {
	o.first()
	return o.Store.ChangeApplication(ctx, app, guard, act)
}

// TestNoChangeIsLost: of two changes at a time one is refused.
func TestNoChangeIsLost(t *testing.T) {
	b := newBench(t)
	b.addApp(t, b.ada, "app", simpleAppDef, func(r *ApplicationRequest) { r.Price = 1 })
	cfg := b.cfg
	cfg.Store = overtaken{b.store, func() {
		if _, err := b.ChangeApplication(t.Context(), b.ada, "app", ApplicationChange{Price: new(2.0)}); err != nil {
			t.Error(err)
		}
	}}
	_, err := New(cfg).ChangeApplication(t.Context(), b.admin, "app", ApplicationChange{Public: new(true)})
	wantError(t, err, berth.Conflict, "The application has been changed by somebody else")
	if app, err := b.Application(t.Context(), b.admin, "app"); err != nil || app.Price != 2 || app.Public {
		t.Errorf("%+v, %v", app, err)
	}
}

// TestLimitsOfTheCatalogue bound what one user can put into it.
func TestLimitsOfTheCatalogue(t *testing.T) {
	b := newBench(t)
	large := strings.Replace(simpleAppDef, "{", "{"+strings.Repeat(" ", maxAppDef), 1)
	if err := b.Validate(t.Context(), []byte(large)); err != nil {
		t.Fatal(err)
	}
	_, err := b.AddApplication(t.Context(), b.admin, ApplicationRequest{ID: "large", Image: "local/x", AppDef: []byte(large)})
	wantError(t, err, berth.Invalid, "Invalid AppDef: it has ")

	app := b.addApp(t, b.ada, "app-0", simpleAppDef)
	for i := 1; i < maxApplications; i++ {
		app.ID = fmt.Sprintf("app-%d", i)
		if err := b.store.CreateApplication(t.Context(), app, 0, berth.Act{Kind: berth.ActAppAdded, By: "ada"}); err != nil {
			t.Fatal(err)
		}
	}
	more := ApplicationRequest{ID: "more", Image: "local/x", AppDef: []byte(simpleAppDef)}
	_, err = b.AddApplication(t.Context(), b.ada, more)
	wantError(t, err, berth.LimitReached, "You have too many applications: 100, of at most 100")
	if err := b.RemoveApplication(t.Context(), b.ada, "app-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.AddApplication(t.Context(), b.ada, more); err != nil {
		t.Error("in place of another:", err)
	}
}

// TestPullsForApplications: with a pull secret the image is there afterwards, for those who have none. It is recorded, and waits
// its turn.
func TestPullsForApplications(t *testing.T) {
	const far, farther = "docker.io/library/far:latest", "docker.io/library/farther:latest"
	images := fake.New(fake.Config{Images: []string{localImage}, Registry: []string{far, farther}})
	t.Cleanup(images.Close)
	b := newBench(t, func(c *Config) { c.Images = images })
	secret := base64.StdEncoding.EncodeToString([]byte(`{"auths":{}}`))
	req := ApplicationRequest{ID: "app", Image: "far", AppDef: []byte(simpleAppDef), PullSecret: secret}
	for range maxPulls {
		b.pulls <- struct{}{}
	}
	hurried, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.AddApplication(hurried, b.ada, req); !errors.Is(err, context.Canceled) {
		t.Errorf("while others are pulled: %v", err)
	}
	for range maxPulls {
		<-b.pulls
	}
	add := func() error { return second(b.AddApplication(t.Context(), b.ada, req)) }
	change := func() error {
		return second(b.ChangeApplication(t.Context(), b.ada, "app", ApplicationChange{Image: new("farther"), PullSecret: secret}))
	}
	for _, test := range []struct {
		ref  string
		pull func() error
	}{{far, add}, {farther, change}} {
		if err := test.pull(); err != nil {
			t.Fatal(err)
		}
		if _, err := images.Image(t.Context(), test.ref); err != nil {
			t.Errorf("%s: %v", test.ref, err)
		}
		acts, err := b.Audit(t.Context(), b.admin, AuditFilter{Subject: test.ref})
		if err != nil || len(acts) != 1 || acts[0].Act.Kind != berth.ActImagePulled || acts[0].Act.By != "ada" {
			t.Errorf("%s is recorded as %+v, %v", test.ref, acts, err)
		}
	}
}

// TestApplicationsOfARemovedTeam: they are nobody's who joins a new team of its name, from the next submission on.
func TestApplicationsOfARemovedTeam(t *testing.T) {
	b := newBench(t)
	addTeam := func() berth.Caller {
		t.Helper()
		if err := b.AddTeam(t.Context(), b.admin, berth.Team{Name: "blue", Payer: "bob"}); err != nil {
			t.Fatal(err)
		}
		user, err := b.store.User(t.Context(), "bob")
		if err != nil {
			t.Fatal(err)
		}
		return berth.Caller{User: user}
	}
	bob := addTeam()
	b.addApp(t, b.admin, "app", simpleAppDef, func(r *ApplicationRequest) { r.Team = "blue" })
	if _, err := b.Application(t.Context(), bob, "app"); err != nil {
		t.Fatal(err)
	}
	if err := b.RemoveTeam(t.Context(), b.admin, "blue"); err != nil {
		t.Fatal(err)
	}
	_, err := b.SubmitApplication(t.Context(), addTeam(), appRequest("app"))
	wantError(t, err, berth.NotFound, "Application Not Found")
}

package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/appdef"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/store"
)

const (
	// appDefPath is where an image has its AppDef, and maxAppDef the largest of the catalogue, in bytes.
	appDefPath = "/etc/NAE/AppDef.json"
	maxAppDef  = 1 << 20
	// maxApplications is how many somebody may have who is no administrator.
	maxApplications = 100
	// maxPulls is how many images are pulled at a time for applications: everybody may ask for it.
	maxPulls = 2
)

const msgBadAppDef = "Invalid AppDef"

var (
	errNotYourApp    = &berth.Error{Kind: berth.Forbidden, Msg: "Only its owner or an administrator may change an application"}
	errAppsByAdmin   = &berth.Error{Kind: berth.Forbidden, Msg: "Only an administrator may make an application public or certify it"}
	errAppsByLeaders = &berth.Error{Kind: berth.Forbidden, Msg: "Only the payer and the administrators of a team may give it an application"}
)

// Validate returns nil for a valid AppDef, else Invalid with all mistakes and their places.
func (s *Service) Validate(_ context.Context, source []byte) error {
	_, err := parseAppDef(source)
	return err
}

func parseAppDef(source []byte) (*appdef.AppDef, error) {
	parsed, err := appdef.Parse(source)
	if err == nil {
		return parsed, nil
	}
	refused := &berth.Error{Kind: berth.Invalid, Msg: msgBadAppDef, Detail: err.Error(), Err: err}
	if problems, ok := errors.AsType[*appdef.Error](err); ok {
		refused.Detail = strings.Join(problems.Problems, "; ")
	}
	return nil, refused
}

// Applications lists what the caller may see and submit, by ID; the zero Caller sees what is public. They come without their
// AppDefs, see Definition.
func (s *Service) Applications(ctx context.Context, caller berth.Caller, filter ApplicationsFilter) ([]berth.Application, error) {
	apps, err := s.selected(ctx, caller, filter.Name)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(apps, func(app berth.Application) bool {
		return filter.Version != 0 && app.AppDefVersion != filter.Version
	}), nil
}

// selected returns the applications of a filter's name that the caller may see.
func (s *Service) selected(ctx context.Context, caller berth.Caller, name string) ([]berth.Application, error) {
	if name == "" || name == "all" {
		return s.cfg.Store.Applications(ctx, caller.User)
	}
	app, err := s.Application(ctx, caller, name)
	switch {
	case berth.KindOf(err) == berth.NotFound:
		return nil, nil
	case err != nil:
		return nil, err
	}
	app.AppDef = ""
	return []berth.Application{app}, nil
}

// Application returns an application that the caller may see, or NotFound "Application Not Found".
func (s *Service) Application(ctx context.Context, caller berth.Caller, id string) (berth.Application, error) {
	app, err := s.cfg.Store.Application(ctx, id)
	if err == nil && !app.VisibleTo(caller.User) {
		return berth.Application{}, &berth.Error{Kind: berth.NotFound, Msg: msgNoApplication}
	}
	return app, named(err, msgNoApplication)
}

// application is Application for submissions, of which there are many.
func (s *Service) application(ctx context.Context, caller berth.Caller, id string) (berth.Application, error) {
	app, err := s.known(ctx, id)
	if err == nil && !app.VisibleTo(caller.User) {
		return berth.Application{}, &berth.Error{Kind: berth.NotFound, Msg: msgNoApplication}
	}
	return app, err
}

// known returns an application, whoever may see it.
func (s *Service) known(ctx context.Context, id string) (berth.Application, error) {
	app, err := s.catalogue.get(id, s.cfg.Now(), func() (berth.Application, error) { return s.cfg.Store.Application(ctx, id) })
	if err != nil && berth.KindOf(err) != berth.NotFound {
		return berth.Application{}, &berth.Error{Kind: berth.Internal, Msg: msgBuildJob, Err: err}
	}
	return app, named(err, msgNoApplication)
}

// AddApplication puts an application into the catalogue, for the caller, for the team that the caller leads, or by administrators for
// everybody. Without an AppDef it takes that of the image, which it pulls for that. Invalid when the AppDef has mistakes or the
// registry refuses the image; Conflict when there is one of that ID; LimitReached when the caller has too many.
func (s *Service) AddApplication(ctx context.Context, caller berth.Caller, req ApplicationRequest) (berth.Application, error) {
	if err := offers(caller); err != nil {
		return berth.Application{}, err
	}
	switch reserved := req.ID == berth.BatchApplication || req.ID == "all"; {
	case !plainName(req.ID, "._-"):
		return berth.Application{}, invalid("id", "%q is not 1 to %d of A-Z, a-z, 0-9, dots, underscores and hyphens", req.ID, maxName)
	case reserved:
		return berth.Application{}, invalid("id", "%s has a meaning of its own", req.ID)
	}
	now := s.cfg.Now().UTC().Truncate(time.Microsecond)
	app := berth.Application{ID: req.ID, Owner: caller.User.Name, Created: now}
	app, err := s.changed(ctx, caller, app, ApplicationChange{
		Image: &req.Image, PullSecret: req.PullSecret, AppDef: req.AppDef, Team: &req.Team, Public: &req.Public,
		Certified: &req.Certified, Price: &req.Price,
	})
	if err != nil {
		return berth.Application{}, err
	}
	limit := maxApplications
	if caller.User.Admin {
		limit = 0
	}
	err = s.cfg.Store.CreateApplication(ctx, app, limit, s.act(caller, berth.ActAppAdded, app.ID, appDetail(app)))
	if err != nil {
		return berth.Application{}, err
	}
	s.catalogue.forget()
	return app, nil
}

// ChangeApplication changes an application of the caller, or any for administrators. What somebody else puts in is not certified any
// more nor public, and is a Conflict while a queue has the application; so is a change by two at a time. Jobs that were submitted
// before keep what they got.
func (s *Service) ChangeApplication(
	ctx context.Context, caller berth.Caller, id string, change ApplicationChange,
) (berth.Application, error) {
	before, err := s.changeable(ctx, caller, id)
	if err != nil {
		return berth.Application{}, err
	}
	app, err := s.changed(ctx, caller, before, change)
	if err != nil {
		return berth.Application{}, err
	}
	guard := store.ApplicationGuard{Updated: before.Updated, NoQueue: unvouched(caller, before, app)}
	err = s.cfg.Store.ChangeApplication(ctx, app, guard, s.act(caller, berth.ActAppChanged, app.ID, appDetail(app)))
	if err != nil {
		return berth.Application{}, named(err, msgNoApplication)
	}
	s.catalogue.forget()
	return app, nil
}

// RemoveApplication removes an application of the caller, or any for administrators. Conflict while a queue has it. Jobs that were
// submitted before run all the same.
func (s *Service) RemoveApplication(ctx context.Context, caller berth.Caller, id string) error {
	if _, err := s.changeable(ctx, caller, id); err != nil {
		return err
	}
	if err := s.cfg.Store.RemoveApplication(ctx, id, s.act(caller, berth.ActAppRemoved, id, "")); err != nil {
		return named(err, msgNoApplication)
	}
	s.catalogue.forget()
	return nil
}

// offers returns nil when the caller may have applications.
func offers(caller berth.Caller) error {
	switch {
	case caller.Job != 0:
		return errNotByToken
	case caller.ReadOnly:
		return errReadOnly
	}
	return nil
}

// changeable returns an application that the caller may change.
func (s *Service) changeable(ctx context.Context, caller berth.Caller, id string) (berth.Application, error) {
	if err := offers(caller); err != nil {
		return berth.Application{}, err
	}
	app, err := s.Application(ctx, caller, id)
	if err == nil && !caller.User.Admin && app.Owner != caller.User.Name {
		return berth.Application{}, errNotYourApp
	}
	return app, err
}

// changed returns an application after a change that is allowed and makes sense.
func (s *Service) changed(
	ctx context.Context, caller berth.Caller, app berth.Application, change ApplicationChange,
) (berth.Application, error) {
	before := app
	for _, field := range []struct{ from, to *bool }{{change.Public, &app.Public}, {change.Certified, &app.Certified}} {
		if field.from != nil {
			*field.to = *field.from
		}
	}
	if !caller.User.Admin && (app.Public && !before.Public || app.Certified && !before.Certified) {
		return berth.Application{}, errAppsByAdmin
	}
	if change.Team != nil && *change.Team != app.Team {
		if err := s.mayOfferTo(ctx, caller, *change.Team); err != nil {
			return berth.Application{}, err
		}
		app.Team = *change.Team
	}
	if change.Price != nil {
		app.Price = *change.Price
		if !(app.Price >= 0) || math.IsInf(app.Price, 0) {
			return berth.Application{}, invalid("price", "%v is no price", app.Price)
		}
	}
	if err := s.changeContent(ctx, caller, &app, change); err != nil {
		return berth.Application{}, err
	}
	if unvouched(caller, before, app) {
		app.Public, app.Certified = false, false
	}
	// Parsed AppDefs are known by this time: it must differ.
	app.Updated = s.cfg.Now().UTC().Truncate(time.Microsecond)
	if !app.Updated.After(before.Updated) {
		app.Updated = before.Updated.Add(time.Microsecond)
	}
	return app, nil
}

// unvouched says whether a change is one that no administrator vouches for: of what the jobs of the application run.
func unvouched(caller berth.Caller, before, after berth.Application) bool {
	return !caller.User.Admin && (after.Image != before.Image || after.AppDef != before.AppDef)
}

// mayOfferTo returns nil when the caller may give an application to a team; none is fine.
func (s *Service) mayOfferTo(ctx context.Context, caller berth.Caller, team string) error {
	switch {
	case team == "":
		return nil
	case caller.User.Admin:
		_, err := s.cfg.Store.Team(ctx, team)
		if berth.KindOf(err) == berth.NotFound {
			return invalid("team", "there is no team %q", team)
		}
		return err
	case caller.User.Team != team || !leads(caller):
		return errAppsByLeaders
	}
	return nil
}

// changeContent changes the image and the AppDef. A new application without an AppDef gets the image's.
func (s *Service) changeContent(ctx context.Context, caller berth.Caller, app *berth.Application, change ApplicationChange) error {
	if change.AppDef != nil {
		if err := define(app, change.AppDef); err != nil {
			return err
		}
	}
	if change.Image != nil {
		ref, err := reference(*change.Image)
		if err != nil {
			return err
		}
		if err := s.checkContentImage(ctx, caller, ref, ref != app.Image, change.PullSecret); err != nil {
			return err
		}
		app.Image = ref
	}
	if app.AppDef != "" {
		return nil
	}
	source, err := s.appDefOf(ctx, caller, app.Image, change.PullSecret)
	if err != nil {
		return err
	}
	return define(app, source)
}

// checkContentImage refuses an image that is not there. With a pull secret it is pulled: those who submit the application have none.
func (s *Service) checkContentImage(ctx context.Context, caller berth.Caller, ref string, other bool, pullSecret string) error {
	if other {
		if err := s.checkImage(ctx, ref, pullSecret); err != nil {
			return err
		}
	}
	if pullSecret == "" {
		return nil
	}
	return s.fetch(ctx, caller, ref, pullSecret)
}

// define gives an application an AppDef, which must be valid and not too large.
func define(app *berth.Application, source []byte) error {
	if len(source) > maxAppDef {
		return &berth.Error{Kind: berth.Invalid, Msg: msgBadAppDef, Detail: fmt.Sprintf("it has %d bytes, of at most %d", len(source), maxAppDef)}
	}
	parsed, err := parseAppDef(source)
	if err != nil {
		return err
	}
	if err := checkAppFiles(parsed); err != nil {
		return err
	}
	app.AppDef, app.AppDefVersion, app.Commands = string(parsed.JSON), parsed.Version, nil
	for _, command := range parsed.Commands {
		app.Commands = append(app.Commands, command.Key)
	}
	return nil
}

// appDefOf reads the AppDef of an image, which it pulls when it is not here.
func (s *Service) appDefOf(ctx context.Context, caller berth.Caller, ref, pullSecret string) ([]byte, error) {
	if err := s.fetch(ctx, caller, ref, pullSecret); err != nil {
		return nil, err
	}
	source, err := s.cfg.Images.ReadFile(ctx, ref, appDefPath, maxAppDef)
	switch {
	case errors.Is(err, engine.ErrNotFound):
		return nil, &berth.Error{Kind: berth.Invalid, Msg: "The image has no AppDef", Detail: "it has no " + appDefPath + "; send one", Err: err}
	case err != nil:
		return nil, imageError(err)
	}
	return source, nil
}

// fetch pulls an image that is not here, when its turn comes.
func (s *Service) fetch(ctx context.Context, caller berth.Caller, ref, pullSecret string) error {
	if _, err := s.cfg.Images.Image(ctx, ref); !errors.Is(err, engine.ErrNotFound) {
		return err
	}
	leave, err := enter(ctx, s.pulls)
	if err != nil {
		return err
	}
	defer leave()
	_, err = s.pull(ctx, caller, ref, pullSecret, nil)
	return err
}

// enter takes a place, when there is one; the only error is that of ctx. Call leave after it.
func enter(ctx context.Context, places chan struct{}) (leave func(), err error) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// appDetail tells people about an application.
func appDetail(app berth.Application) string {
	return strings.TrimSpace(fmt.Sprintf("image=%s public=%v certified=%v team=%s", app.Image, app.Public, app.Certified, app.Team))
}

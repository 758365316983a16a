package control

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/appdef"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
)

const (
	// appDefPath is where an image has its AppDef, and maxAppDef the largest that is read, in bytes.
	appDefPath = "/etc/NAE/AppDef.json"
	maxAppDef  = 4 << 20
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

// Applications lists what the caller may see and submit, by ID; the zero Caller sees what is public.
func (s *Service) Applications(ctx context.Context, caller berth.Caller, filter ApplicationsFilter) ([]berth.Application, error) {
	apps, err := s.selected(ctx, filter.Name)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(apps, func(app berth.Application) bool {
		if !app.VisibleTo(caller.User) {
			return true
		}
		definition, err := s.AppDef(app)
		return filter.Version != 0 && (err != nil || definition.Version != filter.Version)
	}), nil
}

// selected returns the applications of a filter's name, whoever may see them.
func (s *Service) selected(ctx context.Context, name string) ([]berth.Application, error) {
	if name == "" || name == "all" {
		return s.cfg.Store.Applications(ctx)
	}
	app, err := s.cfg.Store.Application(ctx, name)
	switch {
	case berth.KindOf(err) == berth.NotFound:
		return nil, nil
	case err != nil:
		return nil, err
	}
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
// registry refuses the image; Conflict when there is one of that ID.
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
	app := berth.Application{ID: req.ID, Owner: caller.User.Name, AppDef: string(req.AppDef), Created: now}
	app, err := s.changed(ctx, caller, app, ApplicationChange{
		Image: &req.Image, PullSecret: req.PullSecret, AppDef: req.AppDef, Team: &req.Team, Public: &req.Public,
		Certified: &req.Certified, Price: &req.Price,
	})
	if err != nil {
		return berth.Application{}, err
	}
	err = s.cfg.Store.CreateApplication(ctx, app, s.act(caller, berth.ActAppAdded, app.ID, appDetail(app)))
	if err != nil {
		return berth.Application{}, err
	}
	s.catalogue.forget()
	return app, nil
}

// ChangeApplication changes an application of the caller, or any for administrators. What somebody else puts in is not certified any
// more. Jobs that were submitted before keep what they got.
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
	err = s.cfg.Store.ChangeApplication(ctx, app, s.act(caller, berth.ActAppChanged, app.ID, appDetail(app)))
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
	if err := s.changeContent(ctx, &app, change); err != nil {
		return berth.Application{}, err
	}
	if !caller.User.Admin && (app.Image != before.Image || app.AppDef != before.AppDef) {
		app.Certified = false
	}
	// Parsed AppDefs are known by this time: it must differ.
	app.Updated = s.cfg.Now().UTC().Truncate(time.Microsecond)
	if !app.Updated.After(before.Updated) {
		app.Updated = before.Updated.Add(time.Microsecond)
	}
	return app, nil
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
func (s *Service) changeContent(ctx context.Context, app *berth.Application, change ApplicationChange) error {
	if change.Image != nil {
		ref, err := reference(*change.Image)
		if err != nil {
			return err
		}
		if ref != app.Image {
			if err := s.checkImage(ctx, ref, change.PullSecret); err != nil {
				return err
			}
		}
		app.Image = ref
	}
	source := change.AppDef
	if source == nil && app.AppDef != "" {
		return nil
	}
	if source == nil {
		var err error
		if source, err = s.appDefOf(ctx, app.Image, change.PullSecret); err != nil {
			return err
		}
	}
	parsed, err := parseAppDef(source)
	if err != nil {
		return err
	}
	app.AppDef = string(parsed.JSON)
	return nil
}

// appDefOf reads the AppDef of an image, which it pulls when it is not here.
func (s *Service) appDefOf(ctx context.Context, ref, pullSecret string) ([]byte, error) {
	_, err := s.cfg.Images.Image(ctx, ref)
	if errors.Is(err, engine.ErrNotFound) {
		credentials, err := image.Credentials(pullSecret, ref)
		if err != nil {
			return nil, &berth.Error{Kind: berth.Invalid, Msg: "Invalid pull secret", Detail: err.Error()}
		}
		if err := s.cfg.Images.Pull(ctx, ref, credentials, nil); err != nil {
			return nil, imageError(err)
		}
		s.local.forget()
	} else if err != nil {
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

// appDetail tells people about an application.
func appDetail(app berth.Application) string {
	return strings.TrimSpace(fmt.Sprintf("image=%s public=%v certified=%v team=%s", app.Image, app.Public, app.Certified, app.Team))
}

// AppDef returns the AppDef of an application. It is shared: do not change it.
func (s *Service) AppDef(app berth.Application) (*appdef.AppDef, error) { return s.appdefs.parse(app) }

// appdefs keeps parsed AppDefs. The zero value is ready; safe for concurrent use.
type appdefs struct {
	mu     sync.Mutex
	parsed map[string]parsedAppDef
}

type parsedAppDef struct {
	updated time.Time
	appdef  *appdef.AppDef
}

func (a *appdefs) parse(app berth.Application) (*appdef.AppDef, error) {
	a.mu.Lock()
	kept, ok := a.parsed[app.ID]
	a.mu.Unlock()
	if ok && kept.updated.Equal(app.Updated) {
		return kept.appdef, nil
	}
	parsed, err := appdef.Parse([]byte(app.AppDef))
	if err != nil {
		return nil, fmt.Errorf("the AppDef of %s: %w", app.ID, err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.parsed == nil || len(a.parsed) >= maxCached {
		a.parsed = make(map[string]parsedAppDef)
	}
	a.parsed[app.ID] = parsedAppDef{app.Updated, parsed}
	return parsed, nil
}

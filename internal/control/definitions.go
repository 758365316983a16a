package control

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/appdef"
)

const (
	// maxDefinitionBytes bounds the parsed AppDefs that are kept, and parsedSize is about how many times its text one takes.
	maxDefinitionBytes = 48 << 20
	parsedSize         = 4
	// maxReading is how many AppDefs are read and parsed at a time for listings, which need no credentials.
	maxReading = 4
)

// Definition is the AppDef of an application. It is shared: do not change it.
type Definition struct {
	*appdef.AppDef
	// Wire is what clients get of it, as JSON.
	Wire []byte
}

// Definition returns the AppDef of an application that the caller may see, also of one from a listing: the present one. NotFound when
// the application has been removed or hidden since it was listed.
func (s *Service) Definition(ctx context.Context, caller berth.Caller, app berth.Application) (Definition, error) {
	if kept, ok := s.appdefs.find(app); ok {
		return kept, nil
	}
	leave, err := enter(ctx, s.reading)
	if err != nil {
		return Definition{}, err
	}
	defer leave()
	if app.AppDef == "" {
		if app, err = s.Application(ctx, caller, app.ID); err != nil {
			return Definition{}, err
		}
	}
	return s.appdefs.parse(app)
}

// AppDef returns the AppDef of an application that was read with it. It is shared: do not change it.
func (s *Service) AppDef(app berth.Application) (*appdef.AppDef, error) {
	definition, err := s.appdefs.parse(app)
	return definition.AppDef, err
}

// appdefs keeps parsed AppDefs, at most maxDefinitionBytes of them. The zero value is ready; safe for concurrent use.
type appdefs struct {
	mu    sync.Mutex
	kept  map[string]keptAppDef
	bytes int
}

type keptAppDef struct {
	definition Definition
	updated    time.Time
	bytes      int
}

func (a *appdefs) find(app berth.Application) (Definition, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	kept, ok := a.kept[app.ID]
	return kept.definition, ok && kept.updated.Equal(app.Updated)
}

func (a *appdefs) parse(app berth.Application) (Definition, error) {
	if kept, ok := a.find(app); ok {
		return kept, nil
	}
	parsed, err := appdef.Parse([]byte(app.AppDef))
	if err != nil {
		return Definition{}, fmt.Errorf("the AppDef of %s: %w", app.ID, err)
	}
	wire, err := parsed.Wire()
	if err != nil {
		return Definition{}, fmt.Errorf("the AppDef of %s: %w", app.ID, err)
	}
	definition := Definition{AppDef: parsed, Wire: wire}
	a.keep(app.ID, keptAppDef{definition, app.Updated, parsedSize*len(app.AppDef) + len(wire)})
	return definition, nil
}

// keep makes room for an AppDef, whichever others that takes.
func (a *appdefs) keep(id string, fresh keptAppDef) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(id)
	for other := range a.kept {
		if a.bytes+fresh.bytes <= maxDefinitionBytes {
			break
		}
		a.drop(other)
	}
	if a.kept == nil {
		a.kept = make(map[string]keptAppDef)
	}
	a.kept[id] = fresh
	a.bytes += fresh.bytes
}

func (a *appdefs) drop(id string) {
	a.bytes -= a.kept[id].bytes
	delete(a.kept, id)
}

// Package fake is an engine without containers, for tests of what stands on engines. An attempt is a goroutine that follows its
// job script, as far as it understands shell (see program), and writes the same files as the agent.
//
// A line "# fake: WORD…" in a job script makes an attempt misbehave:
//
//	start-error    Start fails and nothing has run: the attempt is in PhaseCreated
//	start-unknown  Start fails although the attempt has started
//	unknown-exit   how the attempt ended cannot be learned
//	lost-exit      Exits does not tell its end
//	oom            the command is killed because the memory is used up
//	worker-error   Start fails because a worker cannot be started: nothing is there
//	worker-ends    the first worker ends once the command runs
//
// Fail makes whole operations fail. The engine polices its callers: Violations says which promises they broke.
package fake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
)

// ErrBroken is what a Start fails with that a job script asks for.
var ErrBroken = errors.New("fake engine: broken as asked")

// Operation is a method of engine.Engine, engine.Agents or engine.Meter, for Fail.
type Operation string

// The operations that can fail.
const (
	Start     Operation = "Start"
	Stop      Operation = "Stop"
	Status    Operation = "Status"
	List      Operation = "List"
	Remove    Operation = "Remove"
	Ask       Operation = "Ask"
	OpenShell Operation = "OpenShell"
	Display   Operation = "OpenDisplay"
	Usage     Operation = "Usage"
)

// Config says what the engine has.
type Config struct {
	// Host and Capacity are what Hosts returns.
	Host     string
	Capacity berth.Capacity
	// Images are in the local store from the start; Registry are those that Pull finds.
	Images, Registry []string
	// Files are what images hold, by reference and absolute path.
	Files map[string]map[string][]byte
	// Display plays the VNC server of every attempt until it returns; nil has none.
	Display func(io.ReadWriter)
	// Actions are what every image offers.
	Actions map[string]agentapi.Action
	// Now is the clock by which attempts start and end; nil is the real one.
	Now func() time.Time
}

// Engine implements engine.Engine, engine.Agents, engine.Meter and engine.Images. It keeps nothing outside of itself, so the same object is what a restarted
// server finds. Its methods may be called concurrently.
type Engine struct {
	cfg Config
	*images

	mu         sync.Mutex
	attempts   map[string]*attempt
	failing    map[Operation]error
	violations []string
	readers    map[chan string]bool
}

var (
	_ engine.Engine = (*Engine)(nil)
	_ engine.Agents = (*Engine)(nil)
	_ engine.Meter  = (*Engine)(nil)
	_ engine.Images = (*Engine)(nil)
)

// New returns an engine without attempts.
func New(cfg Config) *Engine {
	if cfg.Host == "" {
		cfg.Host = "fake"
	}
	if cfg.Capacity == (berth.Capacity{}) {
		cfg.Capacity = berth.Capacity{Cores: 4, RAM: 8 << 30, Slots: 100}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Engine{
		cfg: cfg, images: newImages(cfg.Images, cfg.Registry, cfg.Files),
		attempts: make(map[string]*attempt), failing: make(map[Operation]error), readers: make(map[chan string]bool),
	}
}

// Fail lets an operation fail with err and do nothing, until it is called again with nil.
func (e *Engine) Fail(op Operation, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.failing[op] = err
}

// Violations returns what callers did that they must never do, in order: starting an attempt that has run, starting one without
// a specification, and letting two attempts of a job run at a time.
func (e *Engine) Violations() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.violations)
}

// Close kills everything and waits for it. The engine is not used after it.
func (e *Engine) Close() {
	e.mu.Lock()
	attempts := make([]*attempt, 0, len(e.attempts))
	for _, a := range e.attempts {
		attempts = append(attempts, a)
	}
	e.mu.Unlock()
	for _, a := range attempts {
		a.kill()
	}
}

// Hosts is engine.Engine.
func (e *Engine) Hosts(context.Context) ([]berth.Host, error) {
	return []berth.Host{{Name: e.cfg.Host, Capacity: e.cfg.Capacity}}, nil
}

// enter begins an operation: it takes the lock, unless the operation is to fail.
func (e *Engine) enter(ctx context.Context, op Operation) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("fake engine: %s: %w", op, err)
	}
	e.mu.Lock()
	if err := e.failing[op]; err != nil {
		e.mu.Unlock()
		return fmt.Errorf("fake engine: %s: %w", op, err)
	}
	return nil
}

// Start is engine.Engine.
func (e *Engine) Start(ctx context.Context, what engine.Attempt) error {
	if err := what.Check(); err != nil {
		return err
	}
	if err := e.enter(ctx, Start); err != nil {
		return err
	}
	defer e.mu.Unlock()
	if e.attempts[what.ID] != nil {
		return fmt.Errorf("fake engine: %s: %w", what.ID, engine.ErrExists)
	}
	if !e.has(what.Image) {
		return fmt.Errorf("fake engine: image %s: %w", what.Image, engine.ErrNotFound)
	}
	if len(what.Publish.Ports) > 0 {
		what.Publish.Address = cmp.Or(what.Publish.Address, "192.0.2.100") // of the network for documentation
		if err := e.checkPublish(what.Publish); err != nil {
			return err
		}
	}
	ran, err := agentapi.Begun(what.Dir)
	if err != nil {
		return err
	}
	if ran {
		e.violate("attempt %s of job %d was started again after it had run", what.ID, what.Job)
		e.attempts[what.ID] = lost(what)
		return fmt.Errorf("fake engine: %s: %w", what.ID, engine.ErrExists)
	}
	return e.launch(what)
}

// checkPublish refuses ports that another attempt has. It is called with the lock.
func (e *Engine) checkPublish(publish engine.Publish) error {
	for _, port := range publish.Ports {
		for _, other := range e.attempts {
			taken := func(p engine.Port) bool { return p.Protocol == port.Protocol && p.Outside() == port.Outside() }
			if other.what.Publish.Address == publish.Address && slices.ContainsFunc(other.what.Publish.Ports, taken) {
				return image.Refuse("%s port %s:%d is in use by another job", port.Protocol, publish.Address, port.Outside())
			}
		}
	}
	return nil
}

// launch starts an attempt that is not there. It is called with the lock.
func (e *Engine) launch(what engine.Attempt) error {
	spec, err := readSpec(what.Dir)
	if err != nil {
		e.violate("attempt %s of job %d was started without a specification: %v", what.ID, what.Job, err)
		return err
	}
	for _, other := range e.attempts {
		if other.what.Job == what.Job && other.phase() == engine.PhaseRunning {
			e.violate("attempt %s of job %d was started while %s runs", what.ID, what.Job, other.what.ID)
		}
	}
	p := parse(cmp.Or(spec.Script, spec.Shell, strings.Join(spec.Argv, " ")))
	if err := startWorkers(what, p); err != nil {
		return err
	}
	a := newAttempt(what, p, e.cfg.Now)
	e.attempts[what.ID] = a
	if p.wants("start-error") {
		return fmt.Errorf("start %s: %w", what.ID, ErrBroken)
	}
	if err := a.start(func() { e.tell(a) }); err != nil {
		return err
	}
	if p.wants("worker-ends") && a.endWorker(1) {
		e.announce(a)
	}
	if p.wants("start-unknown") {
		return fmt.Errorf("start %s: %w", what.ID, ErrBroken)
	}
	return nil
}

// startWorkers prepares the nodes besides the first, of which the fake knows only whether they run.
func startWorkers(what engine.Attempt, p program) error {
	if len(what.Workers) > 0 && p.wants("worker-error") {
		return fmt.Errorf("start %s: %w", what.ID, ErrBroken)
	}
	addresses := make([]string, 1+len(what.Workers))
	for i := range addresses {
		addresses[i] = fmt.Sprintf("192.0.2.%d", i+1) // of the network for documentation
	}
	for _, worker := range what.Workers {
		if _, err := readSpec(worker.Dir); err != nil {
			return err
		}
	}
	return what.WritePeers(addresses)
}

// EndWorker ends a worker of an attempt, 1 is the first of them, as when it is killed.
func (e *Engine) EndWorker(id string, worker int) {
	e.mu.Lock()
	a := e.attempts[id]
	e.mu.Unlock()
	if a.endWorker(worker) {
		e.tell(a)
	}
}

func (e *Engine) violate(format string, args ...any) {
	e.violations = append(e.violations, fmt.Sprintf(format, args...))
}

// Stop is engine.Engine.
func (e *Engine) Stop(ctx context.Context, id string, grace time.Duration) error {
	if err := e.enter(ctx, Stop); err != nil {
		return err
	}
	defer e.mu.Unlock()
	a := e.attempts[id]
	if a == nil {
		return fmt.Errorf("fake engine: %s: %w", id, engine.ErrNotFound)
	}
	a.stop(grace)
	return nil
}

// Status is engine.Engine.
func (e *Engine) Status(ctx context.Context, id string) (engine.Status, error) {
	if err := e.enter(ctx, Status); err != nil {
		return engine.Status{}, err
	}
	defer e.mu.Unlock()
	a := e.attempts[id]
	if a == nil {
		return engine.Status{}, fmt.Errorf("fake engine: %s: %w", id, engine.ErrNotFound)
	}
	return a.status(), nil
}

// List is engine.Engine.
func (e *Engine) List(ctx context.Context) ([]engine.Status, error) {
	if err := e.enter(ctx, List); err != nil {
		return nil, err
	}
	defer e.mu.Unlock()
	list := make([]engine.Status, 0, len(e.attempts))
	for _, a := range e.attempts {
		list = append(list, a.status())
	}
	slices.SortFunc(list, func(a, b engine.Status) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// Remove is engine.Engine.
func (e *Engine) Remove(ctx context.Context, id string) error {
	if err := e.enter(ctx, Remove); err != nil {
		return err
	}
	a := e.attempts[id]
	delete(e.attempts, id)
	e.mu.Unlock()
	if a != nil {
		a.kill()
	}
	return nil
}

// exitsBuffered is how many exits a reader may be late. What comes then is lost, which the contract allows.
const exitsBuffered = 256

// Exits is engine.Engine.
func (e *Engine) Exits(ctx context.Context) <-chan string {
	exits := make(chan string, exitsBuffered)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.readers[exits] = true
	context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.readers, exits)
		close(exits)
	})
	return exits
}

// tell tells the readers of Exits about an end.
func (e *Engine) tell(a *attempt) {
	if a.program.wants("lost-exit") {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.announce(a)
}

// announce is tell with the lock.
func (e *Engine) announce(a *attempt) {
	for reader := range e.readers {
		select {
		case reader <- a.what.ID:
		default:
		}
	}
}

// write leaves a whole file or none.
func write(dir, name string, content []byte) error {
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return fmt.Errorf("fake engine: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("fake engine: %w", err)
	}
	return nil
}

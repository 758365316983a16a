// Package reconcile makes the engine agree with the store: placed jobs are started, wishes carried out, ends recorded, and what
// ended jobs left behind is removed. It is the only caller of the engine's Start, Stop and Remove. After a restart of the server
// the first pass adopts what is there.
package reconcile

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/staging"
	"github.com/berth-hpc/berth/internal/store"
)

// Store is what the reconciler needs of the store.
type Store interface {
	Job(ctx context.Context, number int64) (berth.Job, error)
	Jobs(ctx context.Context, filter store.Filter) ([]berth.Job, error)
	Apply(ctx context.Context, number int64, ev berth.Event) (berth.Job, error)
	PullSecret(ctx context.Context, number int64) (string, error)
	// Run returns what an application's job runs, and false when there is no such thing.
	Run(ctx context.Context, number int64) (berth.Run, bool, error)
	Vault(ctx context.Context, owner, name string) (berth.Vault, error)
	// VaultPassword returns the sealed password of the job's vault.
	VaultPassword(ctx context.Context, number int64) (string, error)
	VaultCredentials(ctx context.Context, owner, name string) (berth.Credentials, error)
	SSHKeys(ctx context.Context, user string) ([]berth.SSHKey, error)
	KeptStore
}

// KeptStore knows the data of ended jobs that could not be copied back.
type KeptStore interface {
	// Kept returns false when there is none of a job.
	Kept(ctx context.Context, number int64) (berth.Kept, bool, error)
	AllKept(ctx context.Context, owner string) ([]berth.Kept, error)
	SetKept(ctx context.Context, kept berth.Kept) error
	DeleteKept(ctx context.Context, number int64) error
}

// Stager moves the data of object vaults, see package staging.
type Stager interface {
	In(ctx context.Context, t staging.Transfer) error
	Out(ctx context.Context, t staging.Transfer) (missing string, err error)
}

// Vaults provides the directories that jobs find at /data. All methods are safe to repeat.
type Vaults interface {
	Prepare(v berth.Vault, attempt string, scratch int64) (path string, err error)
	Release(attempt string) error
	Attempts() ([]string, error)
}

// Config is what a Reconciler is made of. Everything is required unless it says otherwise.
type Config struct {
	Store  Store
	Engine engine.Engine
	Images engine.Images
	Vaults Vaults
	// Volumes are those of block vaults.
	Volumes Volumes
	// Unseal returns what was sealed for a purpose; *seal.Sealer has it.
	Unseal func(sealed, purpose string) (string, error)
	Stager Stager
	// Dir returns the directory of a job, see engine.Attempt.Dir.
	Dir func(number int64) string
	// Grace is how long a command may take to end after a shutdown when its job does not say it.
	Grace time.Duration
	// Scratch is what a job may have in its containers and its ephemeral vault, in bytes, when the job does not say it; 0 is no bound.
	Scratch int64
	// CheckScratch says why that cannot be bounded here, nil when it can.
	CheckScratch func() error
	// SuspendedFree says that time in which a job is suspended does not count as walltime.
	SuspendedFree bool
	// PublicAddresses are those that jobs can ask for. Optional.
	PublicAddresses []berth.PublicAddress
	// Nameservers and Search are for the jobs' /etc/resolv.conf. Optional.
	Nameservers []string
	Search      []string
	Now         func() time.Time
	// Tick is how often everything is looked at without being told.
	Tick time.Duration
	Log  *slog.Logger
}

// Reconciler works on each job in a goroutine of its own, one at a time for each job, and only while there is something to do.
type Reconciler struct {
	cfg Config

	mu sync.Mutex
	// pending holds the jobs to look at before Run has begun or between two of its rounds.
	pending  map[int64]struct{}
	workers  map[int64]*worker
	timers   map[int64]*time.Timer
	wake     chan struct{}
	running  sync.WaitGroup
	promises promises
}

// worker is a job that is being worked on.
type worker struct {
	// again says that the job changed meanwhile: look once more.
	again bool
	// wished says that somebody wished something for the job meanwhile.
	wished bool
	// interrupt ends a pull, the moving of data or a pause, because of such a wish.
	interrupt context.CancelFunc
}

// New returns a Reconciler. It starts nothing.
func New(cfg Config) *Reconciler {
	return &Reconciler{
		cfg:     cfg,
		pending: make(map[int64]struct{}),
		workers: make(map[int64]*worker),
		timers:  make(map[int64]*time.Timer),
		wake:    make(chan struct{}, 1),
	}
}

// Notify tells of a stored event. It does not block.
func (r *Reconciler) Notify(job berth.Job, ev berth.Event) {
	switch ev.Kind {
	case berth.EventPlaced:
		r.poke(job.Number)
	case berth.EventStopRequested, berth.EventTerminateRequested:
		r.interrupt(job.Number)
		if job.State.Active() {
			r.poke(job.Number)
		}
	case berth.EventSignaled:
		if _, limited := job.Deadline(r.cfg.SuspendedFree); limited && r.cfg.SuspendedFree {
			r.poke(job.Number) // it may go on after a suspension, with another deadline
		}
	case berth.EventSubmitted, berth.EventWaiting, berth.EventStarted, berth.EventActionRequested, berth.EventStopping,
		berth.EventEnded, berth.EventStaging, berth.EventStaged, berth.EventRefused:
		// its own doing, or nothing to do yet
	}
}

// poke has Run look at a job.
func (r *Reconciler) poke(number int64) {
	r.mu.Lock()
	r.pending[number] = struct{}{}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // a round is due anyway
	}
}

// Look has Run look at the kept data of a job, about which somebody has wished something. It does not block.
func (r *Reconciler) Look(number int64) {
	r.interrupt(number)
	r.poke(number)
}

// interrupt ends what a job's worker may be waiting for, now or later in this step.
func (r *Reconciler) interrupt(number int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.workers[number]
	if w == nil {
		return
	}
	w.wished = true
	if w.interrupt != nil {
		w.interrupt()
	}
}

// pokeAfter has Run look at a job later. A later call for the same job replaces an earlier one.
func (r *Reconciler) pokeAfter(number int64, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if timer := r.timers[number]; timer != nil {
		timer.Stop()
	}
	r.timers[number] = time.AfterFunc(max(0, wait), func() { r.poke(number) })
}

func (r *Reconciler) forgetTimer(number int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if timer := r.timers[number]; timer != nil {
		timer.Stop()
		delete(r.timers, number)
	}
}

// Run reconciles until ctx ends, then waits for the work at hand, which ends with ctx too. Running jobs go on.
func (r *Reconciler) Run(ctx context.Context) error {
	defer r.stop()
	exits := r.cfg.Engine.Exits(ctx)
	tick := time.NewTicker(r.cfg.Tick)
	defer tick.Stop()
	r.pass(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			r.pass(ctx)
		case <-r.wake:
			r.round(ctx)
		case attempt, ok := <-exits:
			if !ok {
				exits = nil // ctx has ended
				continue
			}
			if number, ok := berth.AttemptJob(attempt); ok {
				r.poke(number)
			}
		}
	}
}

func (r *Reconciler) stop() {
	r.running.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for number, timer := range r.timers {
		timer.Stop()
		delete(r.timers, number)
	}
}

// pass logs what a runOnce could not do; the next one tries again.
func (r *Reconciler) pass(ctx context.Context) {
	if err := r.runOnce(ctx); err != nil && ctx.Err() == nil {
		r.cfg.Log.ErrorContext(ctx, "reconcile pass failed; nothing was removed, looking again later", "error", err)
	}
}

// runOnce looks at everything: all jobs that hold resources, and all attempts that the engine has.
func (r *Reconciler) runOnce(ctx context.Context) error {
	active, err := r.cfg.Store.Jobs(ctx, store.Filter{States: berth.ActiveStates()})
	if err != nil {
		return err
	}
	for _, job := range active {
		r.poke(job.Number)
	}
	kept, err := r.cfg.Store.AllKept(ctx, "")
	if err != nil {
		return err
	}
	for _, k := range kept {
		if k.Wish != berth.KeptWishNone {
			r.poke(k.Number)
		}
	}
	r.round(ctx)
	return r.sweep(ctx)
}

// round gives every job that was poked to a worker.
func (r *Reconciler) round(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for number := range r.pending {
		if w := r.workers[number]; w != nil {
			w.again = true
			continue
		}
		w := &worker{}
		r.workers[number] = w
		r.running.Go(func() { r.work(ctx, number, w) })
	}
	clear(r.pending)
}

// Errors of a step are tried again after a pause that doubles.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 10 * time.Second
)

// work takes steps with a job until there is nothing to do for now.
func (r *Reconciler) work(ctx context.Context, number int64, w *worker) {
	pause := firstPause
	for {
		r.begin(w)
		more, err := r.step(ctx, number)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			r.cfg.Log.WarnContext(ctx, "job not brought on; trying again", "job", number, "pause", pause, "error", err)
			pause = r.rest(ctx, number, pause)
			continue
		}
		pause = firstPause
		if !more && r.done(number, w) {
			return
		}
	}
}

// rest waits after an error, unless somebody wishes something for the job, and returns the next pause.
func (r *Reconciler) rest(ctx context.Context, number int64, pause time.Duration) time.Duration {
	resting, stop := r.interruptible(ctx, number)
	defer stop()
	sleep(resting, pause)
	if resting.Err() != nil {
		return firstPause
	}
	return min(2*pause, lastPause)
}

// begin marks that everything up to now is seen by the step that follows.
func (r *Reconciler) begin(w *worker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w.again, w.wished = false, false
}

// done ends a worker unless its job was poked since the last step began.
func (r *Reconciler) done(number int64, w *worker) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if w.again {
		return false
	}
	delete(r.workers, number)
	return true
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

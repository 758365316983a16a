package fake

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
)

// attempt is one attempt. Its lock is taken inside the engine's, never the other way round.
type attempt struct {
	what    engine.Attempt
	program program
	// clock says when it starts and ends.
	clock func() time.Time
	// term and now are closed when it is asked to end with a grace, and at once.
	term, now         chan struct{}
	termOnce, nowOnce sync.Once
	// signals go to the program until over is closed, at its end.
	signals chan unix.Signal
	over    chan struct{}
	// done is closed when it has ended; at once for one that was never started.
	done chan struct{}

	mu      sync.Mutex
	at      engine.Phase
	started time.Time
	ended   time.Time
	exit    berth.Exit
	// failed is the host name of the first worker that ended while the command ran.
	failed string
	// grace is how long after term everything is killed.
	grace time.Duration
	// acting are the actions beside the program, nil while none can be started; actions counts them.
	acting  *sync.WaitGroup
	actions int
	// computed is the time for which the program ran before computing, which is zero while it is suspended.
	computed  time.Duration
	computing time.Time
}

func newAttempt(what engine.Attempt, p program, clock func() time.Time) *attempt {
	a := &attempt{
		what: what, program: p, clock: clock, at: engine.PhaseCreated,
		term: make(chan struct{}), now: make(chan struct{}),
		signals: make(chan unix.Signal), over: make(chan struct{}), done: make(chan struct{}),
	}
	return a
}

// lost is an attempt that ran once, and nobody knows how it ended.
func lost(what engine.Attempt) *attempt {
	a := newAttempt(what, program{}, nil)
	a.at = engine.PhaseExited
	return a
}

func readSpec(dir string) (agentapi.Spec, error) {
	var spec agentapi.Spec
	text, err := os.ReadFile(filepath.Join(dir, agentapi.SpecFile))
	if err != nil {
		return spec, fmt.Errorf("fake engine: %w", err)
	}
	if err := json.Unmarshal(text, &spec); err != nil {
		return spec, fmt.Errorf("fake engine: %w", err)
	}
	return spec, nil
}

// start begins the attempt. ended is called after its end.
func (a *attempt) start(ended func()) error {
	if err := a.print("INIT[1]: fake engine\n"); err != nil {
		return err
	}
	a.mu.Lock()
	a.at, a.started = engine.PhaseRunning, a.clock().UTC()
	a.acting, a.computing = &sync.WaitGroup{}, time.Now()
	report := agentapi.Report{Started: a.started}
	a.mu.Unlock()
	if err := a.report(report); err != nil {
		return err
	}
	go func() {
		defer close(a.done)
		exit := a.program.run(a)
		a.endActions()
		if err := a.finish(exit); err != nil {
			exit = berth.Exit{} // as when an agent cannot report
		}
		a.mu.Lock()
		if exit.Node = a.failed; exit.Node != "" {
			exit.Detail = workerDetail
		}
		a.at, a.exit, a.ended = engine.PhaseExited, exit, a.clock().UTC()
		a.mu.Unlock()
		ended()
	}()
	return nil
}

// endActions kills what still runs beside the program, which has ended.
func (a *attempt) endActions() {
	close(a.over)
	a.mu.Lock()
	acting := a.acting
	a.acting = nil
	a.mu.Unlock()
	acting.Wait()
}

// finish writes the report of the end, unless nobody is to learn of it.
func (a *attempt) finish(exit berth.Exit) error {
	if !exit.Known {
		return nil
	}
	report := agentapi.Report{Started: a.started, Ended: a.clock().UTC(), ExitCode: exit.Code, Signal: exit.Signal}
	if exit.OutOfMemory {
		report.OOMKills = 1
	}
	return a.report(report)
}

func (a *attempt) report(report agentapi.Report) error {
	text, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("fake engine: %w", err)
	}
	return write(a.what.Dir, agentapi.ReportFile, text)
}

// print appends to the output.
func (a *attempt) print(text string) error {
	file, err := os.OpenFile(filepath.Join(a.what.Dir, agentapi.OutputFile), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("fake engine: %w", err)
	}
	defer func() { _ = file.Close() }()
	if _, err := file.WriteString(text); err != nil {
		return fmt.Errorf("fake engine: %w", err)
	}
	return nil
}

func (a *attempt) phase() engine.Phase {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at
}

func (a *attempt) status() engine.Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	status := engine.Status{ID: a.what.ID, Job: a.what.Job, Phase: a.at, Started: a.started, Exit: a.exit, Ended: a.ended}
	if len(a.what.Publish.Ports) > 0 {
		status.Address = a.what.Publish.Address
	}
	if a.at == engine.PhaseRunning && a.failed != "" {
		status.Failed, status.Detail = a.failed, workerDetail
	}
	return status
}

// workerDetail is how workers end.
const workerDetail = "it was ended by signal 9"

// endWorker ends a worker; false when the command does not run.
func (a *attempt) endWorker(worker int) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at != engine.PhaseRunning {
		return false
	}
	a.failed = cmp.Or(a.failed, a.what.Workers[worker-1].Hostname)
	return true
}

// stop asks it to end.
func (a *attempt) stop(grace time.Duration) {
	if grace <= 0 {
		a.nowOnce.Do(func() { close(a.now) })
		return
	}
	a.termOnce.Do(func() {
		a.mu.Lock()
		a.grace = grace
		a.mu.Unlock()
		close(a.term)
	})
}

func (a *attempt) graceTime() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.grace
}

// kill ends it and waits for its end.
func (a *attempt) kill() {
	a.stop(0)
	a.mu.Lock()
	began := !a.started.IsZero()
	a.mu.Unlock()
	if began {
		<-a.done
	}
}

// suspend stops the program's time, resume lets it go on.
func (a *attempt) suspend() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.computing.IsZero() {
		a.computed += time.Since(a.computing)
		a.computing = time.Time{}
	}
}

func (a *attempt) resume() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.computing.IsZero() {
		a.computing = time.Now()
	}
}

func (a *attempt) suspended() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.computing.IsZero()
}

func (a *attempt) usage() engine.Usage {
	const memory, processes = 16 << 20, 2
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	cpu := a.computed
	if !a.computing.IsZero() {
		cpu += now.Sub(a.computing)
	}
	return engine.Usage{
		At: now.UTC(), CPU: cpu, Memory: min(memory, a.what.RAM), MemoryLimit: a.what.RAM, Processes: processes,
	}
}

func exited(code int) berth.Exit { return berth.Exit{Known: true, Ran: true, Code: code} }

func killedBy(signal unix.Signal) berth.Exit {
	const base = 128
	return berth.Exit{Known: true, Ran: true, Code: base + int(signal), Signal: int(signal)}
}

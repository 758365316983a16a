package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/control"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/screenshot"
	"github.com/berth-hpc/berth/internal/vault"
)

// Users and jobs that the scripted control knows.
const (
	testUser = "ada"
	testKey  = "adaskey1"
	readKey  = "adasreadkey1"
	adminKey = "rootskey1"
	otherKey = "bobskey1"

	queuedJob  = 7
	runningJob = 8
	endedJob   = 9
	goneJob    = 4711
)

// scripted is a control in memory whose every operation can be told to fail.
type scripted struct {
	fail map[string]error

	mu       sync.Mutex
	jobs     []berth.Job
	outputs  map[int64][]byte
	machines []berth.Machine
	// What the last call of these operations was given.
	batch    control.BatchRequest
	filter   control.JobsFilter
	imported string
	importAs control.ImportRequest
	lines    int
	// stream replaces the reader of outputs.
	stream func(ctx context.Context) io.ReadCloser
	// waiting is called by Wait with its context.
	waiting func(ctx context.Context)
	// progress is what imports and pulls tell before they end.
	progress []string
	// page is what WebPage returns; the others are what it was given.
	page        control.WebPage
	visitor     control.Visitor
	visitedPort int
	// shells are the other ends of what OpenShell returns, and terminalSize is what it was given.
	shells       chan *agentapi.Terminal
	terminalSize agentapi.TerminalSize
	// untaken makes terminals that take nothing any more, and is told of each time that they did not.
	untaken chan struct{}
	// revoked is closed when UntilRevoked is to return.
	revoked chan struct{}
	// vaultDir is the directory of the vault data.
	vaultDir string
	// wantedSize is what Screenshot was given.
	wantedSize screenshot.Size
	accounts
	catalogue
	vaultRecords
}

func submittedAt() time.Time { return time.Date(2023, 9, 6, 10, 42, 0, 0, time.UTC) }

func newScripted() *scripted {
	job := func(number int64, state berth.State) berth.Job {
		return berth.Job{
			Number: number, Name: "20230906104200-995TB-jarvice-batch-ada_s1", Owner: testUser, State: state,
			Application: berth.BatchApplication, Command: berth.BatchCommand,
			Submission: berth.Submission{
				Container: berth.Container{Image: "library/debian:12", JobScript: "echo <hello> && true"},
				Machine:   berth.MachineRequest{Type: "n0", Nodes: 1},
				Vault:     berth.VaultRequest{Name: berth.EphemeralVault},
				Label:     "my label", Project: "p1",
			},
			Image: "docker.io/library/debian:12", Submitted: submittedAt(),
		}
	}
	queued, running, ended := job(queuedJob, berth.StateQueued), job(runningJob, berth.StateRunning), job(endedJob, berth.StateCompleted)
	queued.Wait = berth.WaitResources
	running.Started, running.Hosts, running.Attempt = submittedAt().Add(3*time.Second), []string{"node1"}, "berth-8-abc"
	ended.Started, ended.Ended = submittedAt().Add(3*time.Second), submittedAt().Add(20*time.Second)
	ended.End = berth.End{Reason: berth.EndExited}
	return &scripted{
		fail:      map[string]error{},
		shells:    make(chan *agentapi.Terminal, 1),
		catalogue: newCatalogue(), vaultRecords: newVaultRecords(),
		jobs:    []berth.Job{queued, running, ended},
		outputs: map[int64][]byte{runningJob: []byte("a\nb\nc\n"), endedJob: []byte("x\ny\xff\nz\n")},
		machines: []berth.Machine{
			{Name: "n0", Description: "one core", Cores: 1, RAM: 9 << 29, ScaleMin: 1, ScaleMax: 1, Price: 0.5},
			{Name: "n1", Cores: 2, RAM: 1 << 20, ScaleMin: 1, ScaleMax: 1, Position: 1},
		},
	}
}

func (s *scripted) Batch(_ context.Context, caller berth.Caller, req control.BatchRequest) (berth.Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if caller.ReadOnly {
		return berth.Job{}, errReadOnly
	}
	s.batch = req
	if err := s.fail["Batch"]; err != nil {
		return berth.Job{}, err
	}
	job := berth.Job{
		Name: "20230906104200-AAAAA-jarvice-batch-" + caller.User.Name + "_s1", Owner: caller.User.Name,
		State: berth.StateQueued, Submission: req.Submission, Submitted: submittedAt(),
	}
	if !req.Submission.NoSubmit {
		job.Number = 123065
	}
	return job, nil
}

func (s *scripted) Job(_ context.Context, caller berth.Caller, ref control.JobRef) (berth.Job, error) {
	if err := s.fail["Job"]; err != nil {
		return berth.Job{}, err
	}
	for _, job := range s.jobs {
		if (job.Number == ref.Number || ref.Number == 0 && job.Name == ref.Name) && caller.MaySee(job) {
			if ref.Name != "" && ref.Name != job.Name {
				return berth.Job{}, berth.Errorf(berth.Invalid, "Bad Request")
			}
			return job, nil
		}
	}
	return berth.Job{}, berth.Errorf(berth.NotFound, "Not found")
}

func (s *scripted) Jobs(_ context.Context, _ berth.Caller, filter control.JobsFilter) iter.Seq2[berth.Job, error] {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filter = filter
	jobs, err := slices.Clone(s.jobs), s.fail["Jobs"]
	return func(yield func(berth.Job, error) bool) {
		for _, job := range jobs {
			if (filter.All || filter.Ended == job.State.Final()) && !yield(job, nil) {
				return
			}
		}
		if err != nil {
			yield(berth.Job{}, err)
		}
	}
}

func (s *scripted) Wait(ctx context.Context, caller berth.Caller, ref control.JobRef) (berth.Job, error) {
	if s.waiting != nil {
		s.waiting(ctx)
	}
	return s.Job(ctx, caller, ref)
}

func (s *scripted) Shutdown(ctx context.Context, caller berth.Caller, ref control.JobRef) error {
	return s.end(ctx, caller, ref, "Shutdown")
}

func (s *scripted) Terminate(ctx context.Context, caller berth.Caller, ref control.JobRef) error {
	return s.end(ctx, caller, ref, "Terminate")
}

func (s *scripted) end(ctx context.Context, caller berth.Caller, ref control.JobRef, operation string) error {
	job, err := s.Job(ctx, caller, ref)
	switch {
	case err != nil:
		return err
	case caller.ReadOnly:
		return errReadOnly
	case job.State.Final():
		return errNotRunning
	default:
		return s.fail[operation]
	}
}

func (s *scripted) Tail(ctx context.Context, caller berth.Caller, ref control.JobRef, lines int) (io.ReadCloser, error) {
	return s.read(ctx, caller, ref, lines, false)
}

func (s *scripted) Output(ctx context.Context, caller berth.Caller, ref control.JobRef, lines int) (io.ReadCloser, error) {
	return s.read(ctx, caller, ref, lines, true)
}

func (s *scripted) read(ctx context.Context, caller berth.Caller, ref control.JobRef, lines int, ended bool) (io.ReadCloser, error) {
	job, err := s.Job(ctx, caller, ref)
	switch {
	case err != nil:
		return nil, err
	case ended && !job.State.Final():
		return nil, berth.Errorf(berth.NotFound, "Finished job is not found")
	case !ended && job.State != berth.StateRunning:
		return nil, berth.Errorf(berth.NotFound, "Running job is not found")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = lines
	if s.stream != nil {
		return s.stream(ctx), nil
	}
	text := bytes.SplitAfter(s.outputs[job.Number], []byte("\n"))
	text = text[:len(text)-1]
	if lines > 0 && lines < len(text) {
		text = text[len(text)-lines:]
	}
	return io.NopCloser(bytes.NewReader(bytes.Join(text, nil))), nil
}

func (s *scripted) OpenOutput(ctx context.Context, caller berth.Caller, ref control.JobRef, offset int64, _ bool) (io.ReadCloser, error) {
	if _, err := s.Job(ctx, caller, ref); err != nil {
		return nil, err
	}
	if s.stream != nil {
		return s.stream(ctx), nil
	}
	text := s.outputs[ref.Number]
	return io.NopCloser(bytes.NewReader(text[min(offset, int64(len(text))):])), s.fail["OpenOutput"]
}

func (s *scripted) Ready(context.Context) error { return s.fail["Ready"] }

func testImage(name string) engine.Image {
	return engine.Image{Name: name, Digest: "sha256:" + strings.Repeat("0", 64), Size: 42, Created: submittedAt()}
}

func (s *scripted) Images(context.Context, berth.Caller) ([]engine.Image, error) {
	return []engine.Image{testImage("local/x:latest"), {Name: "local/y:latest"}}, s.fail["Images"]
}

func (s *scripted) ImportImage(
	_ context.Context, caller berth.Caller, archive io.Reader, req control.ImportRequest, progress engine.Progress,
) ([]engine.Image, error) {
	if !caller.User.Admin {
		return nil, berth.Errorf(berth.Forbidden, "Only an administrator may change images")
	}
	for _, sentence := range s.progress {
		progress(sentence)
	}
	text, err := io.ReadAll(archive)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.imported, s.importAs = string(text), req
	return []engine.Image{testImage(req.Name)}, s.fail["ImportImage"]
}

func (s *scripted) PullImage(
	_ context.Context, _ berth.Caller, name, _ string, progress engine.Progress,
) (engine.Image, error) {
	for _, sentence := range s.progress {
		progress(sentence)
	}
	return testImage(name), s.fail["PullImage"]
}

func (s *scripted) RemoveImage(_ context.Context, _ berth.Caller, name string) error {
	if name == "local/none:latest" {
		return berth.Errorf(berth.NotFound, "Image not found")
	}
	return s.fail["RemoveImage"]
}

func (s *scripted) OpenVault(_ context.Context, caller berth.Caller, name string, change bool) (control.VaultFiles, error) {
	switch {
	case caller.ReadOnly && change:
		return nil, errReadOnly
	case name != "data":
		return nil, berth.Errorf(berth.NotFound, "Vault not found")
	case s.fail["OpenVault"] != nil:
		return nil, s.fail["OpenVault"]
	}
	return vault.Directories{}.Open(berth.Vault{Name: name, Kind: berth.VaultFile, Path: s.vaultDir})
}

func (s *scripted) Backup(_ context.Context, caller berth.Caller, to io.Writer, outputs bool) error {
	if !caller.User.Admin {
		return berth.Errorf(berth.Forbidden, "Only an administrator may do this")
	}
	if s.fail["Backup"] != nil {
		return s.fail["Backup"]
	}
	_, err := fmt.Fprintf(to, "backup, outputs %t", outputs)
	return errors.Join(err, s.fail["Backup, in the middle"])
}

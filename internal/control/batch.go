package control

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
	"github.com/berth-hpc/berth/internal/jobscript"
	"github.com/berth-hpc/berth/internal/store"
)

// Public texts of a refused submission.
const (
	msgMalformed    = "Missing or Malformed API Syntax"
	msgBadContainer = "Invalid container in request"
	msgNoContainer  = "Container cannot create Application"
	msgNoBilling    = "Account billing not active"
	msgBuildJob     = "Unable to create Job Object"
	msgStoreJob     = "Unable to create Job Submission"
	msgOneActiveJob = "Only one active job allowed per VM"
)

// Batch checks a submission and stores it as a queued job. It returns when the job is on disk; the same idempotency key and hash
// return the first job again. With Submission.NoSubmit it returns the job that would be, without a number, and stores nothing.
func (s *Service) Batch(ctx context.Context, caller berth.Caller, req BatchRequest) (berth.Job, error) {
	if caller.ReadOnly {
		return berth.Job{}, errReadOnly
	}
	key := store.Idempotency{Key: req.IdempotencyKey, Hash: req.RequestHash}
	if key.Key != "" {
		// Before the checks: what was accepted once is answered again, even when its image is gone or the billing is off by now.
		job, found, err := s.cfg.Store.JobByIdempotencyKey(ctx, caller.User.Name, key)
		if err != nil || found {
			return job, storing(err)
		}
	}
	if !caller.User.MaySubmit() {
		return berth.Job{}, &berth.Error{Kind: berth.Unauthenticated, Msg: msgNoBilling}
	}
	job, machine, err := s.build(ctx, caller, req)
	if err != nil || req.Submission.NoSubmit {
		return job, err
	}
	stored, err := s.create(ctx, store.NewJob{
		Job: job, From: caller.From, Personal: machine.Personal, PullSecret: req.PullSecret, Idempotency: key,
	})
	return stored, storing(err)
}

// create stores a job, under another name when the random part of its name was taken in the same second.
func (s *Service) create(ctx context.Context, newJob store.NewJob) (berth.Job, error) {
	for range 3 {
		job, _, err := s.cfg.Store.CreateJob(ctx, newJob)
		if !errors.Is(err, store.ErrNameTaken) {
			return job, err
		}
		newJob.Job.Name = s.jobName(s.cfg.Now().UTC(), newJob.Job.Application, newJob.Job.Owner)
	}
	return berth.Job{}, fmt.Errorf("no free name for a job of %s", newJob.Job.Owner)
}

// storing gives a failure of the store its public text and lets refusals pass.
func storing(err error) error {
	if errors.Is(err, store.ErrOneActiveJob) {
		return &berth.Error{Kind: berth.LimitReached, Msg: msgOneActiveJob, Err: err}
	}
	switch berth.KindOf(err) {
	case "", berth.Conflict, berth.Unavailable:
		return err
	default:
		return &berth.Error{Kind: berth.Internal, Msg: msgStoreJob, Err: err}
	}
}

// build makes the job of a submission and returns its machine type, or says what is wrong with it.
func (s *Service) build(ctx context.Context, caller berth.Caller, req BatchRequest) (berth.Job, berth.Machine, error) {
	sub := req.Submission
	sub.Machine.Nodes = max(1, sub.Machine.Nodes)
	if sub.Vault.Name == "" {
		sub.Vault.Name = berth.EphemeralVault
	}
	if _, err := jobscript.Decode(sub.Container.JobScript); err != nil {
		return berth.Job{}, berth.Machine{}, malformed("container.jobscript", err.Error())
	}
	machine, err := s.machine(ctx, sub.Machine)
	if err != nil {
		return berth.Job{}, berth.Machine{}, err
	}
	if err := s.checkVault(ctx, caller, sub.Vault); err != nil {
		return berth.Job{}, berth.Machine{}, err
	}
	ref, err := image.Normalize(sub.Container.Image)
	if err != nil {
		return berth.Job{}, berth.Machine{}, &berth.Error{Kind: berth.Invalid, Msg: msgBadContainer, Detail: "container.image: " + err.Error()}
	}
	if err := s.checkImage(ctx, ref, req.PullSecret); err != nil {
		return berth.Job{}, berth.Machine{}, err
	}
	now := s.cfg.Now().UTC()
	return berth.Job{
		Name:        s.jobName(now, berth.BatchApplication, caller.User.Name),
		Owner:       caller.User.Name,
		Team:        caller.User.Team,
		Payer:       cmp.Or(caller.User.Payer, caller.User.Name),
		State:       berth.StateQueued,
		Wait:        berth.WaitResources,
		Application: berth.BatchApplication,
		Command:     berth.BatchCommand,
		Submission:  sub,
		Image:       ref,
		Need: berth.Capacity{
			Cores: machine.Cores * sub.Machine.Nodes, RAM: machine.RAM * int64(sub.Machine.Nodes), Slots: sub.Machine.Nodes,
		},
		Grace:     machine.Grace,
		Submitted: now,
	}, machine, nil
}

func malformed(field, detail string) error {
	return &berth.Error{Kind: berth.Invalid, Msg: msgMalformed, Detail: field + ": " + detail}
}

// jobName returns a name as real clients know it: <UTC yyyymmddHHMMSS>-<5 of A-Z0-9>-<application>-<owner>_s1. The first three of
// the five follow the time within the second, so that names grow with time: an index of them is then appended to and not
// scattered. The last two are random.
func (s *Service) jobName(now time.Time, application, owner string) string {
	const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	const base = len(alphabet)
	part := now.Nanosecond() / (int(time.Second) / (base * base * base))
	random := s.cfg.Random(2)
	five := []byte{
		alphabet[min(part/(base*base), base-1)], alphabet[part/base%base], alphabet[part%base],
		alphabet[int(random[0])%base], alphabet[int(random[1])%base],
	}
	return now.Format("20060102150405") + "-" + string(five) + "-" + application + "-" + owner + "_s1"
}

// machine returns the machine type of a request.
func (s *Service) machine(ctx context.Context, req berth.MachineRequest) (berth.Machine, error) {
	machines, err := s.machines(ctx)
	if err != nil {
		return berth.Machine{}, &berth.Error{Kind: berth.Internal, Msg: msgBuildJob, Err: err}
	}
	i := slices.IndexFunc(machines, func(m berth.Machine) bool { return m.Name == req.Type })
	if i < 0 {
		return berth.Machine{}, malformed("machine.type", fmt.Sprintf("%q is not one of %s", req.Type, machineNames(machines)))
	}
	m := machines[i]
	if req.Nodes < m.ScaleMin || req.Nodes > m.ScaleMax {
		return berth.Machine{}, malformed("machine.nodes",
			fmt.Sprintf("%d is not within %d to %d, the limits of machine type %s", req.Nodes, m.ScaleMin, m.ScaleMax, m.Name))
	}
	return m, nil
}

func machineNames(machines []berth.Machine) string {
	names := make([]string, len(machines))
	for i, m := range machines {
		names[i] = m.Name
	}
	return strings.Join(names, ", ")
}

func (s *Service) checkVault(ctx context.Context, caller berth.Caller, req berth.VaultRequest) error {
	if req.Name == berth.EphemeralVault {
		return nil
	}
	_, err := s.cfg.Store.Vault(ctx, caller.User.Name, req.Name)
	switch {
	case berth.KindOf(err) == berth.NotFound:
		return malformed("vault.name", fmt.Sprintf("you have no vault %q", req.Name))
	case err != nil:
		return &berth.Error{Kind: berth.Internal, Msg: msgBuildJob, Err: err}
	}
	return nil
}

// checkImage refuses an image that is definitely not to be had. Not knowing is no refusal: the pull goes on with the job.
func (s *Service) checkImage(ctx context.Context, ref, pullSecret string) error {
	_, err := s.local.get(ref, s.cfg.Now(), func() (engine.Image, error) { return s.cfg.Images.Image(ctx, ref) })
	if err == nil {
		return nil
	}
	if !errors.Is(err, engine.ErrNotFound) {
		s.cfg.Log.WarnContext(ctx, "image store does not answer; the job is accepted unchecked", "image", ref, "error", err)
		return nil
	}
	err = s.cfg.Checker.Check(ctx, ref, pullSecret)
	switch {
	case errors.Is(err, engine.ErrRefused):
		return &berth.Error{Kind: berth.Invalid, Msg: msgNoContainer, Detail: image.Reason(err), Err: err}
	case err != nil:
		s.cfg.Log.InfoContext(ctx, "registry does not answer; the job is accepted unchecked", "image", ref, "error", err)
	}
	return nil
}

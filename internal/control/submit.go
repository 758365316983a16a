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
	"github.com/berth-hpc/berth/internal/sshkey"
	"github.com/berth-hpc/berth/internal/store"
)

// draft is a job that is being made of a submission.
type draft struct {
	sub                         berth.Submission
	application, command, image string
	machine                     berth.Machine
	vault                       berth.Vault
	// run is what the job of an application runs, nil for a batch job.
	run *berth.Run
}

// submit has a submission checked and made into a draft by build, and stores the job. What was accepted once is answered again
// before the checks, see Batch.
func (s *Service) submit(
	ctx context.Context, caller berth.Caller, req BatchRequest,
	build func(context.Context, berth.Caller, BatchRequest) (draft, error),
) (berth.Job, error) {
	if caller.ReadOnly {
		return berth.Job{}, errReadOnly
	}
	key := store.Idempotency{Key: req.IdempotencyKey, Hash: req.RequestHash}
	if key.Key != "" && !req.Submission.NoSubmit {
		// Before the checks: what was accepted once is answered again, even when its image is gone or the billing is off by now.
		job, found, err := s.cfg.Store.JobByIdempotencyKey(ctx, caller.User.Name, key)
		if err != nil || found {
			return job, storing(err)
		}
	}
	if !caller.User.MaySubmit() {
		return berth.Job{}, &berth.Error{Kind: berth.Unauthenticated, Msg: msgNoBilling}
	}
	d, err := build(ctx, caller, req)
	if err != nil {
		return berth.Job{}, err
	}
	if err := checkVaultPassword(d, req.VaultPassword); err != nil {
		return berth.Job{}, err
	}
	if d.sub.NoSubmit {
		return s.job(caller, d), nil
	}
	if req.GenSSHKey {
		if err := addSSHKey(&d); err != nil {
			return berth.Job{}, err
		}
	}
	job := s.job(caller, d)
	newJob := store.NewJob{
		Job: job, From: caller.From, Personal: d.machine.Personal, PullSecret: req.PullSecret, Run: d.run, Token: s.tokenOf(d, job),
		Idempotency: key,
	}
	if req.VaultPassword != "" {
		newJob.VaultPassword = s.cfg.Seal(req.VaultPassword, berth.FullVaultName(d.sub.Vault.Name, job.Owner))
	}
	stored, err := s.create(ctx, newJob)
	return stored, storing(err)
}

// addSSHKey gives a job a key for ssh: the private one goes with what it runs, the public one to who asked for it.
func addSSHKey(d *draft) error {
	pair, err := sshkey.New(d.application)
	if err != nil {
		return &berth.Error{Kind: berth.Internal, Msg: msgBuildJob, Err: err}
	}
	if d.run == nil {
		d.run = &berth.Run{}
	}
	d.run.SSHKey, d.sub.SSHPublicKey = pair.Private, pair.Public
	return nil
}

// job makes the job of a draft.
func (s *Service) job(caller berth.Caller, d draft) berth.Job {
	now := s.cfg.Now().UTC()
	return berth.Job{
		Name:        s.jobName(now, d.application, caller.User.Name),
		Owner:       caller.User.Name,
		Team:        caller.User.Team,
		Payer:       cmp.Or(caller.User.Payer, caller.User.Name),
		State:       berth.StateQueued,
		Wait:        berth.WaitResources,
		Application: d.application,
		Command:     d.command,
		Submission:  d.sub,
		Image:       d.image,
		Need:        berth.Capacity{Cores: d.machine.Cores, RAM: d.machine.RAM, GPUs: d.machine.GPUs, Slots: 1},
		Price:       d.machine.Price,
		Grace:       d.machine.Grace,
		Submitted:   now,
	}
}

// place finds the machine type and the vault of a submission.
func (s *Service) place(ctx context.Context, caller berth.Caller, d *draft) (err error) {
	d.sub.Machine.Nodes = max(1, d.sub.Machine.Nodes)
	if d.machine, err = s.machine(ctx, d.sub.Machine); err != nil {
		return err
	}
	if err := s.checkAddress(caller, d.sub.IPAddr); err != nil {
		return err
	}
	d.vault, err = s.vault(ctx, caller, &d.sub.Vault)
	return err
}

// checkAddress refuses a public address that is not the user's to have. Whether a job has it already shows when the job starts.
func (s *Service) checkAddress(caller berth.Caller, address string) error {
	if address == "" {
		return nil
	}
	var allowed []string
	for _, public := range s.cfg.PublicAddresses {
		if public.For(caller.User.Name) {
			allowed = append(allowed, public.Address)
		}
	}
	switch {
	case slices.Contains(allowed, address):
		return nil
	case len(allowed) == 0:
		return malformed("application.ipaddr", fmt.Sprintf("%q is not allowed: this server has no addresses for your jobs", address))
	default:
		return malformed("application.ipaddr", fmt.Sprintf("%q is not one of %s", address, strings.Join(allowed, ", ")))
	}
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
	switch berth.KindOf(err) {
	case "", berth.Conflict, berth.LimitReached, berth.Unavailable:
		return err
	default:
		return &berth.Error{Kind: berth.Internal, Msg: msgStoreJob, Err: err}
	}
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

// vault returns the vault of a request, and completes the request by what the vault says.
func (s *Service) vault(ctx context.Context, caller berth.Caller, req *berth.VaultRequest) (v berth.Vault, err error) {
	if req.Name == "" {
		user := caller.User.Name
		req.Name, err = s.defaults.get(user, s.cfg.Now(), func() (string, error) { return s.cfg.Store.DefaultVault(ctx, user) })
		if err != nil {
			return berth.Vault{}, &berth.Error{Kind: berth.Internal, Msg: msgBuildJob, Err: err}
		}
	}
	if req.Name == berth.EphemeralVault {
		v = berth.Vault{Name: req.Name, Owner: caller.User.Name, Kind: berth.VaultEphemeral}
		req.Kind = v.Kind
		return v, checkObjects(v, *req)
	}
	owner, name := berth.SplitVaultName(req.Name, caller.User.Name)
	v, err = s.cfg.Store.Vault(ctx, owner, name)
	usable, readOnly := v.UsableBy(caller.User.Name, caller.User.Team)
	switch {
	case berth.KindOf(err) == berth.NotFound || err == nil && !usable:
		return berth.Vault{}, malformed("vault.name", fmt.Sprintf("you have no vault %q", req.Name))
	case err != nil:
		return berth.Vault{}, &berth.Error{Kind: berth.Internal, Msg: msgBuildJob, Err: err}
	}
	req.Name, req.Kind, req.ReadOnly = v.VaultName(caller.User.Name), v.Kind, req.ReadOnly || readOnly
	return v, checkObjects(v, *req)
}

// checkVaultPassword refuses a job whose vault needs a password, or takes none. It does not show what was sent.
func checkVaultPassword(d draft, password string) error {
	switch encrypted := d.vault.Volume.Encrypted; {
	case encrypted && password == "":
		return malformed("vault.password", fmt.Sprintf("the vault %s is encrypted: its password is required", d.sub.Vault.Name))
	case !encrypted && password != "":
		return malformed("vault.password", fmt.Sprintf("nothing is allowed: %s is no encrypted vault", d.sub.Vault.Name))
	}
	return nil
}

// checkObjects refuses what a request asks of a vault that the vault does not have.
func checkObjects(v berth.Vault, req berth.VaultRequest) error {
	switch object := v.Kind == berth.VaultObject; {
	case !object && len(req.Objects) > 0:
		return malformed("vault.objects", fmt.Sprintf("nothing is allowed: %s is no object vault", v.Name))
	case !object && req.Bucket != "":
		return malformed("vault.bucket", fmt.Sprintf("nothing is allowed: %s is no object vault", v.Name))
	case object && v.Bucket.Name == "" && !bucketName(req.Bucket):
		return malformed("vault.bucket", fmt.Sprintf("%q is no name of a bucket, and the vault %s has none", req.Bucket, v.Name))
	case object && v.Bucket.Name != "" && req.Bucket != "" && req.Bucket != v.Bucket.Name:
		return malformed("vault.bucket", fmt.Sprintf("%q is not that of the vault %s, which is %s", req.Bucket, v.Name, v.Bucket.Name))
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

package reconcile

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/image"
	"github.com/berth-hpc/berth/internal/jobscript"
)

// spec says what the agent of the first node has to do, which is reached at the address from outside. ports are those to be reached
// there, nil for the usual ones. The error wraps engine.ErrRefused when nobody knows it any more.
func (r *Reconciler) spec(ctx context.Context, job berth.Job, address string) (spec agentapi.Spec, ports []berth.Port, err error) {
	sub := job.Submission
	who := identityOf(job)
	run, err := r.run(ctx, job)
	if err != nil {
		return agentapi.Spec{}, nil, err
	}
	keys, err := r.ssh(ctx, job, address, run.SSHKey)
	if err != nil {
		return agentapi.Spec{}, nil, err
	}
	spec = agentapi.Spec{
		Job: job.Number, Name: job.Name, Label: job.Label(), Hostname: job.NodeName(0), Nodes: nodesOf(job), SSH: keys, PublicAddress: address,
		User:      agentapi.User{Name: who.Username, Group: who.Group, UID: who.UID, GID: who.GID},
		Variables: []agentapi.Setting{{Key: "JARVICE_VAULT_NAME", Value: sub.Vault.Name}},
		Data:      agentapi.Data{Path: dataPath, Chown: !sub.Vault.ReadOnly},
		Grace:     r.grace(job), Nameservers: r.cfg.Nameservers, Search: r.cfg.Search,
	}
	if sub.App == "" && sub.HPC == nil {
		script, err := jobscript.Decode(sub.Container.JobScript)
		if err != nil {
			return spec, nil, fmt.Errorf("script of job %d: %w", job.Number, err)
		}
		spec.Script, spec.Init = script, isInit(script)
	}
	if sub.HPC != nil {
		run.Env = hpcEnv(job, spec.Nodes, run.Env)
	}
	return spec, run.Ports, r.addRun(&spec, run.Numbered(job.Number), sub.Geometry)
}

// run returns what a job runs, or what its people need; the zero value for a batch job that has nothing of it.
func (r *Reconciler) run(ctx context.Context, job berth.Job) (berth.Run, error) {
	sub := job.Submission
	if sub.App == "" && sub.HPC == nil && !sub.Container.Interactive && sub.SSHPublicKey == "" {
		return berth.Run{}, nil
	}
	run, ok, err := r.cfg.Store.Run(ctx, job.Number)
	if err == nil && !ok {
		err = image.Refuse("what the job was to run has been lost")
	}
	return run, err
}

// identityOf is who a job runs as.
func identityOf(job berth.Job) berth.Identity {
	if job.Submission.Identity != nil {
		return *job.Submission.Identity
	}
	return berth.DefaultIdentity
}

// addRun adds what an application's job runs, and what people need who connect to an interactive batch job.
func (r *Reconciler) addRun(spec *agentapi.Spec, run berth.Run, geometry string) error {
	spec.Shell, spec.Init, spec.VerboseInit, spec.Terminal = run.Shell, spec.Init || run.Init, run.VerboseInit, run.Webshell
	if run.Shell == "" {
		spec.Argv = run.Argv
	}
	for _, variable := range run.Variables {
		spec.Variables = append(spec.Variables, agentapi.Setting(variable))
	}
	for _, file := range run.Files {
		spec.Files = append(spec.Files, agentapi.File(file))
	}
	spec.Env, spec.Random = run.Env, run.Random
	if run.BasePath != "" {
		spec.Variables = append(spec.Variables, agentapi.Setting{Key: "JARVICE_INGRESSPATH", Value: run.BasePath})
	}
	if run.Token != "" {
		spec.Secrets = []string{run.Token}
	}
	if !run.Interactive {
		// No files of the password where nobody connects; but the command may have been given it.
		if run.Password != "" {
			spec.Secrets = append(spec.Secrets, run.Password)
		}
		return nil
	}
	spec.Password = run.Password
	spec.Geometry = desktopSize(geometry)
	var err error
	spec.Certificate, err = newCertificate(spec.Hostname, r.cfg.Now())
	return err
}

// desktopSize returns a size as width, x and height; clients send 1,920x1,080 too. What is no size becomes empty: the image has one
// of its own.
func desktopSize(sent string) string {
	width, height, _ := strings.Cut(strings.ReplaceAll(sent, ",", ""), "x")
	for _, number := range []string{width, height} {
		if n, err := strconv.ParseUint(number, 10, 16); err != nil || n == 0 {
			return ""
		}
	}
	return width + "x" + height
}

// initProgram is where images have their init.
const initProgram = "/sbin/init"

// isInit says whether a script is nothing but the start of the image's init.
func isInit(script string) bool {
	command := strings.TrimSpace(script)
	words := strings.Fields(strings.TrimPrefix(command, "exec "))
	return len(words) > 0 && words[0] == initProgram && !strings.ContainsAny(command, "\n;&|")
}

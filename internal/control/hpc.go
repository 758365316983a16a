package control

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-hpc/berth"
)

// jobScriptPath is where the script of an HPC submission is found by its shell.
const jobScriptPath = "/opt/JARVICE/jobscript"

// Limits of what Linux starts: the bytes of one argument or variable, and of all of them.
const (
	maxArgument  = 128<<10 - 1
	maxArguments = 1 << 20
	maxUmask     = 0o777
)

// buildHPC makes the job of an HPC script, or says what is wrong with the submission. Of the application it takes the image only.
func (s *Service) buildHPC(ctx context.Context, caller berth.Caller, req BatchRequest) (draft, error) {
	sub := req.Submission
	queue, err := s.queueOf(ctx, sub.HPC.Queue)
	if err != nil {
		return draft{}, err
	}
	app, err := s.applicationOf(ctx, caller, sub.App, queue)
	if err != nil {
		return draft{}, err
	}
	sub.App, sub.Command, sub.Container = app.ID, berth.HPCCommand, berth.Container{}
	sub.Parameters = nil
	sub.Queue = cmp.Or(queue.Name, sub.Queue)
	if sub.Machine.Type, err = s.hpcMachine(ctx, sub, queue); err != nil {
		return draft{}, err
	}
	sub.AppPrice = app.Price
	d := draft{sub: sub, application: app.ID, command: berth.HPCCommand, image: app.Image}
	if err := s.place(ctx, caller, &d); err != nil {
		return draft{}, err
	}
	if queue.Name != "" && d.sub.Machine.Nodes > queue.Size {
		return draft{}, malformed("machine.nodes", fmt.Sprintf("%d is above %d, the size of queue %s", d.sub.Machine.Nodes, queue.Size, queue.Name))
	}
	if d.run, err = s.hpcRun(*sub.HPC); err != nil {
		return draft{}, err
	}
	d.sub.HPC = withoutSecrets(*sub.HPC)
	return d, s.checkImage(ctx, d.image, req.PullSecret)
}

// queueOf returns the queue that a script was sent to; the zero value when it names none.
func (s *Service) queueOf(ctx context.Context, name string) (berth.Queue, error) {
	if name == "" {
		return berth.Queue{}, nil
	}
	queue, err := s.cfg.Store.Queue(ctx, name)
	switch {
	case berth.KindOf(err) == berth.NotFound:
		return berth.Queue{}, named(err, msgNoQueue)
	case err != nil:
		return berth.Queue{}, &berth.Error{Kind: berth.Internal, Msg: msgBuildJob, Err: err}
	}
	return queue, nil
}

// applicationOf returns the application of a script: the one that it names, else the queue's. Who may use a queue may use its
// application: clients look it up there and name it.
func (s *Service) applicationOf(ctx context.Context, caller berth.Caller, id string, queue berth.Queue) (berth.Application, error) {
	if id != "" && id != queue.Application {
		return s.application(ctx, caller, id)
	}
	if queue.Name != "" && queue.Application == "" {
		return berth.Application{}, &berth.Error{
			Kind: berth.NotFound, Msg: msgNoApplication, Detail: "the queue " + queue.Name + " has none; send the script to another queue",
		}
	}
	return s.known(ctx, queue.Application)
}

// hpcMachine returns the machine type of a script: the one that its resources name, the smallest that has them, the submission's or
// the queue's.
func (s *Service) hpcMachine(ctx context.Context, sub berth.Submission, queue berth.Queue) (string, error) {
	resources := sub.HPC.Resources
	if name := resources["mc_name"]; name != "" {
		return name, nil
	}
	cores, err := amount(resources, "mc_cores")
	if err != nil {
		return "", err
	}
	ram, err := amount(resources, "mc_ram")
	if err != nil {
		return "", err
	}
	if cores == 0 && ram == 0 {
		return cmp.Or(sub.Machine.Type, queue.Machine), nil
	}
	machines, err := s.machines(ctx)
	if err != nil {
		return "", &berth.Error{Kind: berth.Internal, Msg: msgBuildJob, Err: err}
	}
	const gigabyte = 1 << 30
	fits := slices.DeleteFunc(slices.Clone(machines), func(m berth.Machine) bool {
		return m.Cores < cores || m.RAM/gigabyte < int64(ram) || m.ScaleMax < sub.Machine.Nodes
	})
	if len(fits) == 0 {
		return "", malformed("hpc.hpc_resources", fmt.Sprintf("no machine type has %d cores and %d GB in each of %d nodes",
			cores, ram, max(1, sub.Machine.Nodes)))
	}
	return slices.MinFunc(fits, func(a, b berth.Machine) int {
		return cmp.Or(cmp.Compare(a.Cores, b.Cores), cmp.Compare(a.RAM, b.RAM), cmp.Compare(a.GPUs, b.GPUs))
	}).Name, nil
}

// amount reads a number that clients send as text; none is 0.
func amount(resources map[string]string, name string) (int, error) {
	text := strings.TrimSpace(resources[name])
	if text == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > maxCount {
		return 0, malformed("hpc.hpc_resources."+name, fmt.Sprintf("%q is not a whole number within 0 to %d", text, maxCount))
	}
	return n, nil
}

// hpcRun is what the first node does with a script. The text of the shell has to begin with the client's own: that finds its process
// by it.
func (s *Service) hpcRun(hpc berth.HPC) (*berth.Run, error) {
	script, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(hpc.Script), ""))
	if err != nil {
		return nil, malformed("hpc.hpc_job_script", "it is not base64")
	}
	if hpc.Umask < 0 || hpc.Umask > maxUmask {
		return nil, malformed("hpc.hpc_umask", fmt.Sprintf("%d is not within 0 to %d", hpc.Umask, maxUmask))
	}
	var umask string
	if hpc.Umask != 0 {
		umask = fmt.Sprintf("umask %04o\n", hpc.Umask)
	}
	shell := hpc.EnvConfig + "\n" + umask + cmp.Or(strings.TrimSpace(hpc.Shell), "/bin/sh") + " " + jobScriptPath
	switch {
	case strings.ContainsRune(shell, 0):
		return nil, malformed("hpc.hpc_job_shell", "it and hpc_job_env_config must not hold NUL")
	case len(shell) > maxArgument:
		return nil, malformed("hpc.hpc_job_env_config", fmt.Sprintf("it and hpc_job_shell have %d bytes, at most %d are allowed", len(shell), maxArgument))
	}
	if err := checkEnvs(hpc.Envs); err != nil {
		return nil, err
	}
	return &berth.Run{
		Shell: shell, Env: maps.Clone(hpc.Envs),
		Files:    []berth.File{{Path: jobScriptPath, Data: script, Executable: true}},
		Password: s.randomText(passwordLength), Random: s.randomText(randomLength),
	}, nil
}

// withoutSecrets is a script as it is kept with the job and shown again. Clients may send their whole environment: what is not about
// the batch system is nobody's business, only the run has its value.
func withoutSecrets(hpc berth.HPC) *berth.HPC {
	hpc.Envs = maps.Clone(hpc.Envs)
	for name := range hpc.Envs {
		if !slices.ContainsFunc([]string{"SLURM_", "SGE_", "JOB_"}, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			hpc.Envs[name] = "***"
		}
	}
	return &hpc
}

// checkEnvs refuses what can be no environment.
func checkEnvs(envs map[string]string) error {
	total := 0
	for _, key := range slices.Sorted(maps.Keys(envs)) {
		size := len(key) + len(envs[key]) + len("=\x00")
		total += size
		switch {
		case key == "" || strings.ContainsAny(key, "=\x00") || strings.ContainsRune(envs[key], 0):
			return malformed("hpc.hpc_envs", fmt.Sprintf("%q and its value cannot be in an environment", key))
		case size > maxArgument || total > maxArguments:
			return malformed("hpc.hpc_envs", fmt.Sprintf("with %q it is larger than Linux allows", key))
		}
	}
	return nil
}

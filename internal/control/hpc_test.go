package control

import (
	"encoding/base64"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

func (b *bench) setQueue(t *testing.T, queue berth.Queue) {
	t.Helper()
	if err := b.SetQueue(t.Context(), b.admin, queue); err != nil {
		t.Fatal(err)
	}
}

// hpcRequest is as sbatch sends it.
func hpcRequest(queue string) BatchRequest {
	return BatchRequest{Submission: berth.Submission{HPC: &berth.HPC{
		Queue: queue, EnvConfig: "join () { :; } || true", Shell: "cd && A=b /bin/bash", Script: base64.StdEncoding.EncodeToString([]byte("echo hi\n")),
		Envs: map[string]string{"SLURM_JOB_NAME": "n"}, Resources: map[string]string{"mc_name": "", "mc_cores": "0", "mc_ram": "0"},
	}}}
}

// hpcBench has the queues work, with an application that is root's alone and the machine type n1, and bare, without application.
func hpcBench(t *testing.T) *bench {
	t.Helper()
	b := newBench(t)
	b.addApp(t, b.admin, "secret", simpleAppDef)
	b.addApp(t, b.ada, "own", simpleAppDef)
	b.setQueue(t, berth.Queue{Name: "work", Application: "secret", Machine: "n1", Size: 2})
	b.setQueue(t, berth.Queue{Name: "bare", Machine: "n0", Size: 1})
	return b
}

func TestSubmitHPC(t *testing.T) {
	b := hpcBench(t)
	req := hpcRequest("work")
	req.Submission.Machine.Nodes = 2
	job, run := b.submitApp(t, b.ada, req)
	if job.Application != "secret" || job.Command != "HpcJob" || job.Image != localImage {
		t.Errorf("job %+v", job)
	}
	want := req.Submission
	want.App, want.Command, want.Queue, want.Machine.Type, want.Vault.Name = "secret", "HpcJob", "work", "n1", berth.EphemeralVault
	want.Vault.Kind = berth.VaultEphemeral
	if diff := cmp.Diff(want, job.Submission); diff != "" {
		t.Errorf("submission (-want +got):\n%s", diff)
	}
	wantRun := berth.Run{
		Shell:    "join () { :; } || true\ncd && A=b /bin/bash /opt/JARVICE/jobscript",
		Env:      map[string]string{"SLURM_JOB_NAME": "n"},
		Files:    []berth.File{{Path: "/opt/JARVICE/jobscript", Data: []byte("echo hi\n"), Executable: true}},
		Password: run.Password, Random: run.Random,
	}
	if diff := cmp.Diff(wantRun, run); diff != "" || run.Password == "" || run.Random == "" {
		t.Errorf("run (-want +got):\n%s", diff)
	}
}

// TestEnvironmentOfAScriptIsNotShown: the script gets all of it; the job and the answer tell what is about the batch system.
func TestEnvironmentOfAScriptIsNotShown(t *testing.T) {
	b := hpcBench(t)
	req := hpcRequest("work")
	sent := map[string]string{"SLURM_A": "1", "SGE_A": "2", "JOB_ID": "3", "AWS_SECRET": "secret", "MY_SLURM_A": "secret"}
	req.Submission.HPC.Envs = maps.Clone(sent)
	job, run := b.submitApp(t, b.ada, req)
	if diff := cmp.Diff(sent, run.Env); diff != "" {
		t.Errorf("run (-want +got):\n%s", diff)
	}
	want := map[string]string{"SLURM_A": "1", "SGE_A": "2", "JOB_ID": "3", "AWS_SECRET": "***", "MY_SLURM_A": "***"}
	if diff := cmp.Diff(want, job.Submission.HPC.Envs); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	stored, err := b.store.Job(t.Context(), job.Number)
	if diff := cmp.Diff(want, stored.Submission.HPC.Envs); diff != "" || err != nil {
		t.Errorf("job: %v (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff(sent, req.Submission.HPC.Envs); diff != "" {
		t.Errorf("the request has changed:\n%s", diff)
	}
}

func TestHPCDetails(t *testing.T) {
	b := hpcBench(t)
	req := hpcRequest("")
	req.Submission.App, req.Submission.Machine.Type = "own", "n0"
	req.Submission.HPC.Umask, req.Submission.HPC.Shell, req.Submission.HPC.Script = 0o27, "", ""
	job, run := b.submitApp(t, b.ada, req)
	if want := "join () { :; } || true\numask 0027\n/bin/sh /opt/JARVICE/jobscript"; run.Shell != want {
		t.Errorf("shell %q, want %q", run.Shell, want)
	}
	if len(run.Files) != 1 || len(run.Files[0].Data) != 0 {
		t.Errorf("files %+v, want an empty script", run.Files)
	}
	if job.Application != "own" || job.Submission.Queue != "" {
		t.Errorf("job %+v", job)
	}
}

// TestHPCMachine: what the resources name, else the smallest that has them, else the submission's, else the queue's.
func TestHPCMachine(t *testing.T) {
	b := hpcBench(t)
	for _, machine := range []berth.Machine{
		{Name: "big", Cores: 8, RAM: 16 << 30, ScaleMin: 1, ScaleMax: 1}, {Name: "wide", Cores: 4, RAM: 16 << 30, ScaleMin: 1, ScaleMax: 2},
	} {
		if err := b.SetMachine(t.Context(), b.admin, machine); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		resources map[string]string
		machine   string
		nodes     int
		want      string
	}{
		"the queue's":        {map[string]string{}, "", 1, "n1"},
		"the submission's":   {map[string]string{"mc_cores": "", "mc_ram": "0"}, "n0", 1, "n0"},
		"a name":             {map[string]string{"mc_name": "p0", "mc_cores": "8"}, "n0", 1, "p0"},
		"cores":              {map[string]string{"mc_cores": "2"}, "n0", 1, "n1"},
		"memory":             {map[string]string{"mc_ram": "3"}, "n0", 1, "wide"},
		"cores and memory":   {map[string]string{"mc_cores": "5", "mc_ram": "3"}, "n0", 1, "big"},
		"cores of two nodes": {map[string]string{"mc_cores": "1"}, "n0", 2, "n1"},
	} {
		t.Run(name, func(t *testing.T) {
			req := hpcRequest("work")
			maps.Copy(req.Submission.HPC.Resources, test.resources)
			req.Submission.Machine = berth.MachineRequest{Type: test.machine, Nodes: test.nodes}
			req.Submission.NoSubmit = true
			job, err := b.SubmitApplication(t.Context(), b.ada, req)
			if err != nil || job.Submission.Machine.Type != test.want {
				t.Errorf("machine type %q, %v; want %q", job.Submission.Machine.Type, err, test.want)
			}
		})
	}
}

func TestSubmitHPCRefuses(t *testing.T) {
	const malformed = "Missing or Malformed API Syntax: "
	b := hpcBench(t)
	for name, test := range map[string]struct {
		change func(*berth.Submission)
		kind   berth.Kind
		text   string
	}{
		"unknown queue":       {func(s *berth.Submission) { s.HPC.Queue = "zz" }, berth.NotFound, "Queue not found"},
		"queue without app":   {func(s *berth.Submission) { s.HPC.Queue = "bare" }, berth.NotFound, "Application Not Found: the queue bare has none"},
		"no queue and no app": {func(s *berth.Submission) { s.HPC.Queue = "" }, berth.NotFound, "Application Not Found"},
		"another's app":       {func(s *berth.Submission) { s.HPC.Queue, s.App = "bare", "secret" }, berth.NotFound, "Application Not Found"},
		"above the queue":     {func(s *berth.Submission) { s.Machine.Nodes = 3 }, berth.Invalid, malformed + "machine.nodes: 3 is above 2, the size of queue work"},
		"nothing fits":        {func(s *berth.Submission) { s.HPC.Resources["mc_cores"] = "99" }, berth.Invalid, malformed + "hpc.hpc_resources: no machine type has 99 cores"},
		"no number":           {func(s *berth.Submission) { s.HPC.Resources["mc_ram"] = "4G" }, berth.Invalid, malformed + `hpc.hpc_resources.mc_ram: "4G" is not`},
		"unknown machine":     {func(s *berth.Submission) { s.HPC.Resources["mc_name"] = "zz" }, berth.Invalid, malformed + `machine.type: "zz" is not one of`},
		"no base64":           {func(s *berth.Submission) { s.HPC.Script = "echo hi" }, berth.Invalid, malformed + "hpc.hpc_job_script: it is not base64"},
		"umask":               {func(s *berth.Submission) { s.HPC.Umask = 0o1000 }, berth.Invalid, malformed + "hpc.hpc_umask: 512 is not within 0 to 511"},
		"NUL in the shell":    {func(s *berth.Submission) { s.HPC.Shell = "a\x00" }, berth.Invalid, malformed + "hpc.hpc_job_shell: "},
		"long shell":          {func(s *berth.Submission) { s.HPC.EnvConfig = strings.Repeat("x", 1<<17) }, berth.Invalid, malformed + "hpc.hpc_job_env_config: "},
		"NUL in a variable":   {func(s *berth.Submission) { s.HPC.Envs["A"] = "\x00" }, berth.Invalid, malformed + `hpc.hpc_envs: "A"`},
		"no name":             {func(s *berth.Submission) { s.HPC.Envs["A=B"] = "" }, berth.Invalid, malformed + `hpc.hpc_envs: "A=B"`},
		"long variable":       {func(s *berth.Submission) { s.HPC.Envs["A"] = strings.Repeat("x", 1<<17) }, berth.Invalid, malformed + `hpc.hpc_envs: with "A"`},
	} {
		t.Run(name, func(t *testing.T) {
			req := hpcRequest("work")
			test.change(&req.Submission)
			_, err := b.SubmitApplication(t.Context(), b.ada, req)
			wantError(t, err, test.kind, test.text)
		})
	}
	if jobs, err := b.store.Jobs(t.Context(), store.Filter{}); err != nil || len(jobs) != 0 {
		t.Errorf("%d jobs are stored, %v", len(jobs), err)
	}
}

// TestClientsNameTheApplicationOfTheQueue: they look it up, and may use it there although they may not see it.
func TestClientsNameTheApplicationOfTheQueue(t *testing.T) {
	b := hpcBench(t)
	req := hpcRequest("work")
	req.Submission.App = "secret"
	if job, _ := b.submitApp(t, b.ada, req); job.Application != "secret" {
		t.Errorf("application %s", job.Application)
	}
}

// TestWhateverIsSubmittedForHPC: a script is accepted or refused in words for who sent it, whatever the client makes of it.
func TestWhateverIsSubmittedForHPC(t *testing.T) {
	b := hpcBench(t)
	base64s := rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), base64.StdEncoding.EncodeToString)
	amounts := rapid.OneOf(rapid.SampledFrom([]string{"", "0", "1", "99", "n0"}), rapid.String())
	rapid.Check(t, func(r *rapid.T) {
		req := BatchRequest{Submission: berth.Submission{
			App: rapid.SampledFrom([]string{"", "own"}).Draw(r, "app"),
			HPC: &berth.HPC{
				Queue:     rapid.SampledFrom([]string{"", "work"}).Draw(r, "queue"),
				EnvConfig: rapid.String().Draw(r, "env config"), Shell: rapid.String().Draw(r, "shell"),
				Script: rapid.OneOf(base64s, rapid.String()).Draw(r, "script"),
				Envs:   rapid.MapOfN(rapid.String(), rapid.String(), 0, 3).Draw(r, "envs"),
				Umask:  rapid.IntRange(-1, 600).Draw(r, "umask"),
				Resources: map[string]string{
					"mc_name": amounts.Draw(r, "name"), "mc_cores": amounts.Draw(r, "cores"), "mc_ram": amounts.Draw(r, "ram"),
				},
			},
		}}
		_, err := b.SubmitApplication(t.Context(), b.ada, req)
		if kind := berth.KindOf(err); kind != "" && kind != berth.Invalid && kind != berth.NotFound {
			r.Fatalf("%v (%s)", err, kind)
		}
	})
}

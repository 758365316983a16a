package reconcile

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

func TestSpecOfAnHPCScript(t *testing.T) {
	b := newBench(t)
	job, _, err := b.store.CreateJob(t.Context(), store.NewJob{
		Job: berth.Job{
			Name: "20260101000000-00000-app-ada_s1", Owner: "ada", Payer: "ada", Application: "app", Command: berth.HPCCommand, Image: localImage,
			Submitted: time.Now(), Need: berth.Capacity{Cores: 1, RAM: 1 << 28, Slots: 1},
			Submission: berth.Submission{
				App: "app", Command: berth.HPCCommand, HPC: &berth.HPC{Queue: "default"}, Vault: berth.VaultRequest{Name: berth.EphemeralVault},
			},
		},
		Run: &berth.Run{Shell: "/bin/sh /opt/JARVICE/jobscript", Env: map[string]string{"A": "b", "JOB_ID": "the client's"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	spec, _, err := b.spec(t.Context(), job, "")
	want := map[string]string{
		"A": "b", "JOB_ID": "the client's", "SLURM_JOB_ID": "1",
		"slurm_hosts": "jarvice-job-1", "slurm_host": "jarvice-job-1", "host_alias": "jarvice-job-1",
	}
	if diff := cmp.Diff(want, spec.Env); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

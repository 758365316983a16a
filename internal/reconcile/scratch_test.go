package reconcile

import (
	"strings"
	"testing"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/vault"
)

// notedVaults note the bound of the last vault, which they do not make.
type notedVaults struct {
	vault.Directories
	scratch int64
}

func (v *notedVaults) Prepare(of berth.Vault, attempt string, scratch int64) (string, error) {
	v.scratch = scratch
	return v.Directories.Prepare(of, attempt, 0)
}

// TestScratchOfTheJob: what the machine type gave goes before what the server gives.
func TestScratchOfTheJob(t *testing.T) {
	b := newBench(t)
	vaults := &notedVaults{Directories: b.vaults}
	b.cfg.Vaults = vaults
	b.cfg.CheckScratch = func() error { return nil }
	for name, test := range map[string]struct{ job, server, want int64 }{
		"none": {}, "the server's": {0, 1 << 20, 1 << 20}, "the job's": {2 << 20, 0, 2 << 20}, "both, more": {2 << 20, 1 << 20, 2 << 20},
		"both, less": {1 << 20, 2 << 20, 1 << 20},
	} {
		b.cfg.Scratch = test.server
		attempt, err := b.prepare(t.Context(), b.place(t, "true", func(j *berth.Job) { j.Scratch = test.job }))
		if err != nil || attempt.Scratch != test.want || vaults.scratch != test.want {
			t.Errorf("%s: the containers have %d, the vault %d, %v; want %d", name, attempt.Scratch, vaults.scratch, err, test.want)
		}
	}
}

// TestScratchThatCannotBeBounded: the job is refused with a reason, and leaves nothing.
func TestScratchThatCannotBeBounded(t *testing.T) {
	b := newBench(t)
	defer b.run(t)()
	job := b.place(t, "true", func(j *berth.Job) { j.Scratch = 1 << 20 })
	if job = b.until(t, job.Number, ended); job.End.Reason != berth.EndRefused || !strings.Contains(job.End.Detail, "cannot bound the scratch") {
		t.Errorf("state %s, end %+v", job.State, job.End)
	}
}

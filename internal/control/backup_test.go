package control

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/berth-hpc/berth"
)

// TestBackupsAreForAdministrators, and who took one is known before the first byte is out.
func TestBackupsAreForAdministrators(t *testing.T) {
	var b *bench
	lastAct := func() berth.Act { return b.lastRecord(t).Act }
	b = newBench(t, func(cfg *Config) {
		cfg.Backup = func(_ context.Context, to io.Writer, _ bool) error {
			if act := lastAct(); act.Kind != berth.ActBackup || act.By != "root" {
				t.Errorf("the last act is %+v", act)
			}
			_, err := io.WriteString(to, "everything")
			return err
		}
	})
	for name, caller := range map[string]berth.Caller{"user": b.ada, "team leader": b.tess, "key for reading": b.readerRoot} {
		var text bytes.Buffer
		if err := b.Backup(t.Context(), caller, &text, true); berth.KindOf(err) != berth.Forbidden || text.Len() != 0 {
			t.Errorf("%s: %v, %d bytes", name, err, text.Len())
		}
	}
	var text bytes.Buffer
	if err := b.Backup(t.Context(), b.admin, &text, true); err != nil || text.String() != "everything" {
		t.Errorf("%q, %v", text.String(), err)
	}
}

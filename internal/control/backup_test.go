package control

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

// TestBackupsAreForAdministrators, and who took one is known before the first byte is out.
func TestBackupsAreForAdministrators(t *testing.T) {
	var b *bench
	b = newBench(t, func(cfg *Config) {
		cfg.Backup = func(ctx context.Context, to io.Writer, _ bool) error {
			last, err := b.store.Audit(ctx, store.AuditFilter{Limit: 1})
			if err != nil || len(last) != 1 || last[0].Act.Kind != berth.ActBackup || last[0].Act.By != "root" {
				t.Errorf("the last act is %+v, %v", last, err)
			}
			_, err = io.WriteString(to, "everything")
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

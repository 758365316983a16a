package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// TestBackupIsWholeOrWhatWasBefore: half a backup is worse than none.
func TestBackupIsWholeOrWhatWasBefore(t *testing.T) {
	t.Parallel()
	broken := false
	f := newFake(t, map[string]http.HandlerFunc{"GET /v1/backup": func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "backup "+r.URL.Query().Get("outputs"))
		if broken {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
	}})
	path := filepath.Join(t.TempDir(), "b")
	if got := f.berth(t, "-q", "admin", "backup", "--outputs", path); got != (result{Stdout: "backed up to " + path + " 11 B\n"}) {
		t.Errorf("%+v", got)
	}
	check(t, result{Stdout: "backup "}, f.berth(t, "-q", "admin", "backup", "-"))
	dir := filepath.Dir(path)
	check(t, result{Code: exitError, Stderr: "berth: " + dir + " is a directory: give a FILE\n"}, f.berth(t, "-q", "admin", "backup", dir))
	broken = true
	if got := f.berth(t, "-q", "admin", "backup", path); got.Code != exitError {
		t.Errorf("%+v", got)
	}
	text, err := os.ReadFile(path)
	left, errDir := os.ReadDir(filepath.Dir(path))
	if err != nil || errDir != nil || string(text) != "backup true" || len(left) != 1 {
		t.Errorf("%q, %v; %v, %v", text, err, left, errDir)
	}
}

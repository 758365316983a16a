package httpapi

import (
	"errors"
	"net/http"
	"testing"

	"github.com/berth-hpc/berth"
)

func TestBackup(t *testing.T) {
	a := newTestAPI(t)
	got := a.own(http.MethodGet, "/v1/backup?outputs=true", adminKey, "")
	if got.status != 200 || got.body != "backup, outputs true" || got.header.Get("Content-Type") != contentBytes {
		t.Errorf("status %d, %v: %s", got.status, got.header, got.body)
	}
	if got := a.own(http.MethodGet, "/v1/backup", testKey, ""); got.status != http.StatusForbidden {
		t.Errorf("status %d: %s", got.status, got.body)
	}
	for kind, status := range map[berth.Kind]int{berth.NoSpace: 507, berth.Unsupported: 501} {
		a.fail["Backup"] = berth.Errorf(kind, "No backup")
		if got := a.own(http.MethodGet, "/v1/backup", adminKey, ""); got.status != status || got.errorText(t) != "No backup" {
			t.Errorf("status %d: %s", got.status, got.body)
		}
	}
}

// TestABackupThatBreaksOffIsBroken: the client must not take it for a whole one.
func TestABackupThatBreaksOffIsBroken(t *testing.T) {
	a := newTestAPI(t)
	a.fail["Backup, in the middle"] = errors.New("broken")
	req := a.request(http.MethodGet, "/v1/backup", nil)
	req.Header.Set("Authorization", "Bearer "+adminKey)
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		_ = resp.Body.Close()
		t.Errorf("status %d, length %d", resp.StatusCode, resp.ContentLength)
	}
}

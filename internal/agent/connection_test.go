package agent

import (
	"encoding/hex"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPasswordFiles compares with what the programs of VNC and Apache write.
func TestPasswordFiles(t *testing.T) {
	t.Parallel()
	for password, want := range map[string]string{
		"password": "dbd83cfd727a1458", "password and more": "dbd83cfd727a1458", "123456": "494015f9a35e8b22",
	} {
		got, err := vncPassword(password)
		if err != nil || hex.EncodeToString(got) != want {
			t.Errorf("VNC password %q: %x, %v; want %s", password, got, err, want)
		}
	}
	if got, want := webPassword("password"), "nimbix:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n"; got != want {
		t.Errorf("web password %q; want %q", got, want)
	}
}

func TestHider(t *testing.T) {
	t.Parallel()
	spec := validSpec()
	spec.Secrets, spec.Password, spec.Random = []string{"token", ""}, "pass", "0123456789abcdefghijklmnopqrstuv"+"0123456789ABCDEFGHIJKLMNOPQRSTUV"
	got := hider(spec).Replace("-k token -p pass -a " + spec.Random + " -b " + spec.Random[:32] + " -c x" + spec.Random[:16] + "x -d 0123456789")
	if diff := cmp.Diff("-k *** -p *** -a *** -b *** -c x***x -d 0123456789", got); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
}

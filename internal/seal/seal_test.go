package seal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/berth-hpc/berth/internal/seal"
)

func open(t *testing.T, path string) *seal.Sealer {
	t.Helper()
	s, err := seal.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSecretsComeBack(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	first := open(t, path)
	again := open(t, path) // as after a restart
	rapid.Check(t, func(t *rapid.T) {
		secret, purpose := rapid.String().Draw(t, "secret"), rapid.String().Draw(t, "purpose")
		sealed := first.Seal(secret, purpose)
		if got, err := again.Open(sealed, purpose); got != secret || err != nil {
			t.Fatalf("%q came back as %q, %v", secret, got, err)
		}
		if len(secret) > 3 && strings.Contains(sealed, secret) {
			t.Fatalf("%q is seen in %q", secret, sealed)
		}
		if sealed == first.Seal(secret, purpose) {
			t.Fatal("the same secret is sealed to the same text")
		}
	})
}

func TestTheKeyIsPrivate(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	open(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file of the key: %v, %v", info.Mode(), err)
	}
}

func TestWhatCannotBeOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := open(t, filepath.Join(dir, "key"))
	sealed := s.Seal("secret", "vault")
	byOther := open(t, filepath.Join(dir, "other")).Seal("secret", "vault")
	damaged := "AAAA" + sealed[4:]
	for what, test := range map[string][2]string{
		"another purpose": {sealed, "another"}, "another key": {byOther, "vault"}, "damaged": {damaged, "vault"},
		"cut off": {sealed[:8], "vault"}, "no text of ours": {"secret", "vault"}, "nothing": {"", "vault"},
	} {
		if got, err := s.Open(test[0], test[1]); !errors.Is(err, seal.ErrUnreadable) || got != "" {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
}

func TestAKeyThatIsNone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := seal.Open(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("a key of five bytes: %v", err)
	}
	if _, err := seal.Open(filepath.Join(path, "key")); err == nil {
		t.Error("a key below a file")
	}
}

package control

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/sshkey"
)

// publicKey is a public key and fingerprint its name.
const (
	publicKey   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
	fingerprint = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"
)

func TestSSHKeys(t *testing.T) {
	b := newBench(t)
	added, err := b.AddSSHKey(t.Context(), b.ada, publicKey+" ada@laptop\n")
	if err != nil {
		t.Fatal(err)
	}
	want := berth.SSHKey{User: "ada", Fingerprint: fingerprint, Line: publicKey, Comment: "ada@laptop", Added: added.Added}
	for _, caller := range []berth.Caller{b.ada, b.reader} {
		keys, err := b.SSHKeys(t.Context(), caller)
		if diff := cmp.Diff([]berth.SSHKey{want}, keys); diff != "" || added != want || err != nil {
			t.Errorf("added %+v, %v; listed (-want +got):\n%s", added, err, diff)
		}
	}
	if act := b.lastRecord(t).Act; act.Kind != berth.ActSSHKeyAdded || act.Subject != "ada" || act.Detail != fingerprint+" ada@laptop" {
		t.Errorf("recorded %+v", act)
	}
	if keys, err := b.SSHKeys(t.Context(), b.admin); err != nil || len(keys) > 0 {
		t.Errorf("an administrator has %+v, %v", keys, err)
	}
	_, err = b.AddSSHKey(t.Context(), b.ada, publicKey+" other name")
	wantError(t, err, berth.Conflict, "You have this key already")
	wantError(t, b.RemoveSSHKey(t.Context(), b.bob, fingerprint), berth.NotFound, "Key not found")
	wantError(t, b.RemoveSSHKey(t.Context(), b.reader, fingerprint), berth.Forbidden, "This key may only read")
	if err := b.RemoveSSHKey(t.Context(), b.ada, fingerprint); err != nil {
		t.Error(err)
	}
	if act := b.lastRecord(t).Act; act.Kind != berth.ActSSHKeyRemoved || act.Subject != "ada" || act.Detail != fingerprint {
		t.Errorf("recorded %+v", act)
	}
}

func TestSSHKeysAreChecked(t *testing.T) {
	b := newBench(t)
	for line, text := range map[string]string{
		"":                        "Invalid parameter(s): key: it is no public key",
		"from=\"*\" " + publicKey: "Invalid parameter(s): key: it is no public key alone: options",
		publicKey + " " + strings.Repeat("x", 101):   "Invalid parameter(s): key: its comment",
		publicKey + " a\x1b[31m":                     "Invalid parameter(s): key: its comment",
		strings.Repeat("#", 9000) + "\n" + publicKey: "Invalid parameter(s): key: it must have at most",
	} {
		_, err := b.AddSSHKey(t.Context(), b.ada, line)
		wantError(t, err, berth.Invalid, text)
	}
	_, err := b.AddSSHKey(t.Context(), b.reader, publicKey)
	wantError(t, err, berth.Forbidden, "This key may only read")
}

// TestWhoStaysForATimeDoesNotStayBySSH: what an API key that ends has made ends with it, and a public key would not.
func TestWhoStaysForATimeDoesNotStayBySSH(t *testing.T) {
	b := newBench(t)
	guest, root := b.ada, b.admin
	guest.Expires, root.Expires = time.Now().Add(time.Hour), time.Now().Add(time.Hour)
	_, err := b.AddSSHKey(t.Context(), guest, publicKey)
	wantError(t, err, berth.Forbidden, "An API key that expires may not do this")
	if _, err := b.AddSSHKey(t.Context(), root, publicKey); err != nil {
		t.Error(err) // an administrator can make keys that do not end
	}
}

func TestManySSHKeys(t *testing.T) {
	b := newBench(t)
	for i := range maxSSHKeys + 1 {
		pair, err := sshkey.New(strconv.Itoa(i))
		if err != nil {
			t.Fatal(err)
		}
		_, err = b.AddSSHKey(t.Context(), b.ada, pair.Public)
		if i == maxSSHKeys {
			wantError(t, err, berth.LimitReached, "You have too many keys")
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

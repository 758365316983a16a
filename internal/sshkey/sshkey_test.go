package sshkey

import (
	"bytes"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestNew(t *testing.T) {
	t.Parallel()
	pair, err := New("job 7")
	if err != nil {
		t.Fatal(err)
	}
	private, err := ssh.ParsePrivateKey(pair.Private)
	if err != nil {
		t.Fatal(err)
	}
	public, comment, _, _, err := ssh.ParseAuthorizedKey([]byte(pair.Public))
	if err != nil || comment != "job 7" || !bytes.Equal(public.Marshal(), private.PublicKey().Marshal()) {
		t.Errorf("%q, comment %q: %v", pair.Public, comment, err)
	}
	if again, err := New("job 7"); err != nil || again.Public == pair.Public {
		t.Errorf("the same key twice: %v", err)
	}
}

package sshkey

import (
	"bytes"
	"crypto/rand"
	"errors"
	"strings"
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

func TestParse(t *testing.T) {
	t.Parallel()
	const line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
	want := Public{Line: line, Fingerprint: "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"}
	for comment, text := range map[string]string{
		"":               line,
		"ada@laptop":     "# mine\n\n" + line + " ada@laptop\n",
		"Ada's  2nd key": "  " + line + " Ada's  2nd key\r\n\n",
	} {
		want.Comment = comment
		if got, err := Parse([]byte(text)); err != nil || got != want {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
	pair, err := New("x")
	if err != nil {
		t.Fatal(err)
	}
	for text, reason := range map[string]string{
		"":                           "looks like",
		"ssh-ed25519 AAAA":           "looks like",
		string(pair.Private):         "looks like",
		line + "\n" + pair.Public:    "more than one line",
		`from="10.0.0.1" ` + line:    `"from=\"10.0.0.1\"" would not be obeyed`,
		certificate(t, pair.Private): "certificate",
	} {
		if got, err := Parse([]byte(text)); !errors.Is(err, ErrPublic) || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q is %+v, %v; want %s", text, got, err, reason)
		}
	}
}

// certificate returns one that a key has signed for itself.
func certificate(t *testing.T, private []byte) string {
	t.Helper()
	signer, err := ssh.ParsePrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	c := &ssh.Certificate{Key: signer.PublicKey(), CertType: ssh.UserCert}
	if err := c.SignCert(rand.Reader, signer); err != nil {
		t.Fatal(err)
	}
	return string(ssh.MarshalAuthorizedKey(c))
}

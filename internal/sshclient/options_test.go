package sshclient

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]options{
		"n1 hostname -f":                           {rest: []string{"n1", "hostname", "-f"}, port: 2222},
		"-x -q -T n1 true":                         {rest: []string{"n1", "true"}, port: 2222, terminals: -1},
		"-ttn -p22 -l me -i key n1":                {rest: []string{"n1"}, port: 22, terminals: 2, noInput: true, user: "me", identity: "key"},
		"-o BatchMode=yes -oPort=23 -o User=u n1":  {rest: []string{"n1"}, port: 23, user: "u"},
		"-F file -e none -c aes -o identityfile=k": {port: 2222, identity: "k", rest: []string{}},
		"-- -n": {rest: []string{"-n"}, port: 2222},
	} {
		got := newOptions()
		if err := got.parse(strings.Fields(line), sshFlags); err != nil {
			t.Errorf("%s: %v", line, err)
			continue
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(options{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", line, diff)
		}
	}
	for _, line := range []string{"-p", "-p x n1", "-p 0 n1", "-p 70000 n1", "-L 1:n1:2 n1", "-N n1", "-o Port=x n1", "-?"} {
		o := newOptions()
		if err := o.parse(strings.Fields(line), sshFlags); !errors.Is(err, errUsage) {
			t.Errorf("%s: %v; want it to be refused", line, err)
		}
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	for word, want := range map[string][2]string{"n1": {"", "n1"}, "me@n1": {"me", "n1"}, "me@x@n1": {"me@x", "n1"}, "::1": {"", "::1"}} {
		o := newOptions()
		if err := o.setHost(word); err != nil || o.user != want[0] || o.host != want[1] {
			t.Errorf("%s: user %q, host %q, %v; want %q", word, o.user, o.host, err, want)
		}
	}
	o := newOptions()
	if err := o.setHost("me@"); !errors.Is(err, errUsage) {
		t.Errorf("no host: %v", err)
	}
}

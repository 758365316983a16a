package agent

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSHA512Crypt compares with what openssl passwd -6 -salt 'rounds=1000$0000000000000007' makes.
func TestSHA512Crypt(t *testing.T) {
	t.Parallel()
	for password, want := range map[string]string{
		"x":                        "2VXDcyFx3XKn6xEb1UUT7pLq2/HA6lSWBgX1HgKOIl99f5HexU84Zr8c6JTlNVcNMc8sReOuAtmiDrouHQVH60",
		"secret":                   "znW4VAeuIIbQc/BqUk9a5XJFx9oY5eiz8zQM9m3mFtpuvY5uDPt6C0y7QyjXnVSJefJttbzpPViyDqf.DF4g4/",
		"Zwölf Zeichen":            "n0MViXk2i7kLm3q9XPY1elrXkr.H9ZuumyUjXf6Shb9ce9Mo0g.huzwckG6lL/YU58As5Vh6Wpw/0cSgeBO2q0",
		strings.Repeat("long", 32): "jm58B3oQoOcZpGJy.5H3APuY.GP0.tZV8mOhVo.BK5iAMRvqM2lyjXB04dizXk9oTtbXyLK7.RmJvBYYdo72L.",
		strings.Repeat("y", 63):    "1T4kUkRZs8x2gXMtgZyBGewA1Q.QEnSuY6FwkQtJKql3drlFb5v0KLrjGev2fQj5pbcwhtx.x4ViKBU8v.5/51",
		strings.Repeat("z", 64):    "1gUbXjtO/5phQga4Xk93GaIQzXvafWCqWcLztcDftx5.BNeubl7gmTYQu/MLN.o2ATg5nDciefmsnQY3sC5YU0",
		strings.Repeat("é", 33):    "J5R36WGWqi1JOxgId4ufH/q9ymz0Q6/b9mxImp1A/eAVWzyygHBsOUBIgtnVdliqMlDegfPALwnikkvXrJnvB.",
	} {
		if got := sha512Crypt(password, 7); got != "$6$rounds=1000$0000000000000007$"+want {
			t.Errorf("%q is %s, want %s", password, got, want)
		}
	}
}

// TestShadow: the user gets the password of a job that people connect to, and nobody else keeps one.
func TestShadow(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.put("/etc/shadow", "root:$6$abc:19000:0:99999:7:::\nnimbix:!:19000::::::\nrubbish\ndaemon:*:1::::::")
	s.spec.Password = "secret"
	if err := s.writeShadow(); err != nil {
		t.Fatal(err)
	}
	s.want("/etc/shadow", "root:*:::::::\ndaemon:*:::::::\nnimbix:"+sha512Crypt("secret", s.spec.Job)+":::::::\n")
	if files := tree(t, filepath.Join(s.dir, "etc")); !slices.Contains(files, "-rw------- shadow") {
		t.Errorf("in /etc there is %q", files)
	}
}

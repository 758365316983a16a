package agent

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const ourEntry = "nimbix:x:505:505:nimbix:/home/nimbix:/bin/sh"

func TestPlaceEntry(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ text, want string }{
		"nothing":         {"", ourEntry + "\n"},
		"others":          {"root:x:0:0::/:/bin/sh\n", "root:x:0:0::/:/bin/sh\n" + ourEntry + "\n"},
		"no newline":      {"root:x:0:0::/:/bin/sh", "root:x:0:0::/:/bin/sh\n" + ourEntry + "\n"},
		"the name":        {"a:x:1:1::/:\nnimbix:x:1000:1000::/:\nb:x:2:2::/:\n", "a:x:1:1::/:\n" + ourEntry + "\nb:x:2:2::/:\n"},
		"the name twice":  {"nimbix:x:1:1::/:\na:x:2:2::/:\nnimbix:x:3:3::/:\n", ourEntry + "\na:x:2:2::/:\n"},
		"the id":          {"a:x:505:1::/:\nb:x:2:2::/:\n", ourEntry + "\na:x:505:1::/:\nb:x:2:2::/:\n"},
		"the id, odd":     {"a:x:0505:1::/:\n", ourEntry + "\na:x:0505:1::/:\n"},
		"id, then name":   {"a:x:505:1::/:\nnimbix:x:9:9::/:\n", ourEntry + "\na:x:505:1::/:\n"},
		"network service": {"a:x:1:1::/:\n+::::::\n", "a:x:1:1::/:\n" + ourEntry + "\n+::::::\n"},
		"rubbish":         {"\x00\xff\n:::\n# comment\n\n", "\x00\xff\n:::\n# comment\n\n" + ourEntry + "\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, placeEntry(test.text, ourEntry)); diff != "" {
				t.Errorf("placeEntry(%q) (-want +got):\n%s", test.text, diff)
			}
		})
	}
}

func FuzzPlaceEntry(f *testing.F) {
	f.Add("root:x:0:0::/:/bin/sh\nnimbix:x:1:1::/:\n+\n\na:x:505:5::/:")
	f.Fuzz(func(t *testing.T, text string) {
		got := placeEntry(text, ourEntry)
		var byName, byID string
		for line := range strings.SplitSeq(got, "\n") {
			if byName == "" && field(line, 0) == "nimbix" {
				byName = line
			}
			if byID == "" && field(line, 2) == "505" {
				byID = line
			}
		}
		if byName != ourEntry || byID != ourEntry || strings.Count(got, ourEntry+"\n") != 1 {
			t.Errorf("placeEntry(%q) = %q; want our entry found by name and id", text, got)
		}
		if again := placeEntry(got, ourEntry); again != got {
			t.Errorf("placeEntry twice = %q; want %q", again, got)
		}
	})
}

func TestConfigureUser(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.home = "/home/nimbix"
	s.put("/etc/passwd", "root:x:0:0::/root:/bin/sh\nnimbix:x:1000:1000::/x:/bin/zsh\n")
	s.put("/etc/group", "root:x:0:\nnimbix:x:9:alice,bob\nwheel:x:505:carol\n")
	s.put("/bin/zsh", "")
	if err := s.configureUser(); err != nil {
		t.Fatal(err)
	}
	s.want("/etc/passwd", "root:x:0:0::/root:/bin/sh\nnimbix:x:505:505:nimbix:/home/nimbix:/bin/zsh\n")
	s.want("/etc/group", "root:x:0:\nnimbix:x:505:alice,bob\nwheel:x:505:carol\n")
	if s.shell != "/bin/zsh" {
		t.Errorf("shell %s; want what the image gives the user", s.shell)
	}
}

func TestConfigureUserWithoutFiles(t *testing.T) {
	t.Parallel()
	s := newSetup(t)
	s.home = "/home/nimbix"
	s.put("/bin/bash", "")
	s.fifo("/etc/group")
	if err := s.configureUser(); err != nil {
		t.Fatal(err)
	}
	s.want("/etc/passwd", minimalPasswd+"nimbix:x:505:505:nimbix:/home/nimbix:/bin/bash\n")
	s.want("/etc/group", minimalGroup+"nimbix:x:505:\n")
	if said := s.said(); !strings.HasPrefix(said, "INIT[1]: WARNING: made anew: /etc/group") {
		t.Errorf("INIT lines %q; want a warning", said)
	}
}

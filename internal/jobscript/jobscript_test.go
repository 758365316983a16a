package jobscript_test

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/internal/jobscript"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// wrapped breaks base64 into lines as coreutils and Python's encodebytes do.
func wrapped(s, newline string) string {
	var out strings.Builder
	for text := b64(s); text != ""; {
		n := min(76, len(text))
		out.WriteString(text[:n] + newline)
		text = text[n:]
	}
	return out.String()
}

func TestDecode(t *testing.T) {
	t.Parallel()
	long := "#!/bin/bash\n" + strings.Repeat("echo a line that goes on for a while\n", 20)
	tests := map[string]struct{ in, want string }{
		"one shell line":               {"cd /data && ls -l $HOME", "cd /data && ls -l $HOME"},
		"several lines, no shebang":    {"cd /data\nls\n", "cd /data\nls\n"},
		"script":                       {"#!/bin/bash\necho hi\n", "#!/bin/bash\necho hi\n"},
		"base64 of a script":           {b64("#!/bin/bash\necho hi\n"), "#!/bin/bash\necho hi\n"},
		"base64 with a newline behind": {b64("#!/bin/bash\necho hi\n") + "\n", "#!/bin/bash\necho hi\n"},
		"base64 of a line":             {b64("echo hi there"), "echo hi there"},
		"base64 of one word, padded":   {"aG9zdG5hbWU=", "hostname"},
		"base64 in lines":              {wrapped(long, "\n"), long},
		"base64 in lines of Windows":   {wrapped(long, "\r\n"), long},
		"base64 of colour codes":       {b64("#!/bin/sh\necho '\x1b[1mx'"), "#!/bin/sh\necho '\x1b[1mx'"},
		"base64 of letters with marks": {b64("echo äöü €"), "echo äöü €"},
		"a command that is base64":     {"file", "file"},
		"a longer one":                 {"envsubst", "envsubst"},
		"words in lines are no base64": {"file\nfile", "file\nfile"},
		"base64 without padding":       {"aG9zdG5hbWU", "aG9zdG5hbWU"},
		"base64 with stray bits":       {"aG9zdG5hbWV=", "aG9zdG5hbWV="},
		"an assignment":                {"FOO=", "FOO="},
		"base64 of binary":             {b64("\x7fELF\x02\x01\x01 \n"), b64("\x7fELF\x02\x01\x01 \n")},
		"line ends of Windows":         {"#!/bin/sh\r\necho hi\r\n", "#!/bin/sh\necho hi\n"},
		"the same in base64":           {b64("#!/bin/sh\r\necho hi\r\n"), "#!/bin/sh\necho hi\n"},
		"some of Windows are meant":    {"#!/bin/sh\nprintf 'a\r\n'\n", "#!/bin/sh\nprintf 'a\r\n'\n"},
		"byte order mark":              {"\ufeff#!/bin/sh\necho\n", "#!/bin/sh\necho\n"},
		"blank lines that do no harm":  {"#!/bin/sh\n\necho a\n\necho b\n", "#!/bin/sh\n\necho a\n\necho b\n"},
		"doubled newlines":             {"#!/bin/sh\n\necho a \\\n\n  b\n\n\n\necho c\n\n", "#!/bin/sh\necho a \\\n  b\n\necho c\n"},
		"doubled but for the last":     {"#!/bin/sh\n\necho a \\\n\n  b\n", "#!/bin/sh\necho a \\\n  b\n"},
		"not doubled everywhere":       {"#!/bin/sh\necho a \\\n\necho b\n", "#!/bin/sh\necho a \\\n\necho b\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := jobscript.Decode(test.in)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("Decode(%q) (-want +got):\n%s", test.in, diff)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		in   string
		want error
	}{
		"nothing":         {"", jobscript.ErrEmpty},
		"blanks":          {" \n\t\r\n", jobscript.ErrEmpty},
		"base64 of blank": {b64(" \n "), jobscript.ErrEmpty},
		"only a mark":     {"\ufeff", jobscript.ErrEmpty},
		"NUL":             {"echo \x00", jobscript.ErrNUL},
		"NUL in base64":   {b64("#!/bin/sh\necho \x00"), jobscript.ErrNUL},
		"not UTF-8":       {"echo \xff", jobscript.ErrNotUTF8},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, err := jobscript.Decode(test.in); !errors.Is(err, test.want) {
				t.Errorf("Decode(%q) = %q, %v; want %v", test.in, got, err, test.want)
			}
		})
	}
}

// TestDecodeLeavesCommandsAlone runs over every command of this machine, by name and by path.
func TestDecodeLeavesCommandsAlone(t *testing.T) {
	t.Parallel()
	tried := 0
	for _, dir := range []string{"/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/games", "/usr/local/bin", "/usr/local/sbin", "/usr/libexec"} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue // not every machine has all of them
		}
		for _, entry := range entries {
			for _, command := range []string{entry.Name(), filepath.Join(dir, entry.Name()), strings.TrimPrefix(filepath.Join(dir, entry.Name()), "/")} {
				tried++
				if got, err := jobscript.Decode(command); err != nil || got != command {
					t.Errorf("Decode(%q) = %q, %v; want it unchanged", command, got, err)
				}
			}
		}
	}
	if tried < 100 {
		t.Errorf("only %d names tried; want a machine with commands", tried)
	}
	t.Logf("%d names and paths tried", tried)
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"", "file", "echo hi", b64("#!/bin/sh\necho\r\n"), "#!/bin/sh\n\na \\\n\nb", "\xff\x00", wrapped(strings.Repeat("echo a\n", 40), "\n")} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		got, err := jobscript.Decode(in)
		if err != nil {
			if got != "" {
				t.Errorf("Decode(%q) = %q and %v", in, got, err)
			}
			return
		}
		if strings.TrimSpace(got) == "" || !utf8.ValidString(got) || strings.ContainsRune(got, 0) {
			t.Errorf("Decode(%q) = %q, which cannot be run", in, got)
		}
		// Whatever can be run can be sent as base64, provided that it shows.
		if strings.HasPrefix(got, "#!") {
			again, err := jobscript.Decode(b64(got))
			if err != nil || strings.Count(again, "\\\n\n") == strings.Count(got, "\\\n\n") && again != got && strings.Count(got, "\r\n") == 0 {
				t.Errorf("Decode(base64 of %q) = %q, %v", got, again, err)
			}
		}
	})
}

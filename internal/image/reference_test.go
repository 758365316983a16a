package image_test

import (
	"strings"
	"testing"

	"github.com/berth-hpc/berth/internal/image"
)

func TestNormalize(t *testing.T) {
	digest := "sha256:" + strings.Repeat("ab", 32)
	for in, want := range map[string]string{
		"ubuntu":                              "docker.io/library/ubuntu:latest",
		"library/ubuntu":                      "docker.io/library/ubuntu:latest",
		"library/ubuntu:latest":               "docker.io/library/ubuntu:latest",
		"docker.io/ubuntu":                    "docker.io/library/ubuntu:latest",
		"docker.io/library/ubuntu:24.04":      "docker.io/library/ubuntu:24.04",
		"index.docker.io/library/ubuntu":      "docker.io/library/ubuntu:latest",
		"local/x:latest":                      "docker.io/local/x:latest",
		"local/x":                             "docker.io/local/x:latest",
		"localhost/x":                         "localhost/x:latest",
		"registry:5000/x/y":                   "registry:5000/x/y:latest",
		"registry:5000/x/y@" + digest:         "registry:5000/x/y@" + digest,
		"registry:5000/x/y:1@" + digest:       "registry:5000/x/y:1@" + digest,
		"[::1]:5000/x":                        "[::1]:5000/x:latest",
		"nvcr.io/nvidia/cuda:12.4-ubuntu":     "nvcr.io/nvidia/cuda:12.4-ubuntu",
		"Registry.Example.com/a__b/c-d/e.f":   "Registry.Example.com/a__b/c-d/e.f:latest",
		"x:" + strings.Repeat("t", 128):       "docker.io/library/x:" + strings.Repeat("t", 128),
		"docker.io/" + strings.Repeat("a", 9): "docker.io/library/aaaaaaaaa:latest",
	} {
		t.Run(in, func(t *testing.T) {
			got, err := image.Normalize(in)
			if err != nil || got != want {
				t.Fatalf("Normalize(%q) = %q, %v; want %q", in, got, err, want)
			}
			short := image.Familiar(got)
			if again, err := image.Normalize(short); err != nil || again != want {
				t.Errorf("the short form %q becomes %q, %v; want %q", short, again, err, want)
			}
		})
	}
}

func TestNormalizeRefuses(t *testing.T) {
	for in, says := range map[string]string{
		"":                                      "empty",
		" ubuntu":                               "form",
		"Ubuntu":                                "lower case",
		"local/My:latest":                       "lower case",
		"UPPER/x":                               "lower case",
		"https://registry.example.com/x":        "leave the \"https://\" out",
		"docker://ubuntu":                       "leave the \"docker://\" out",
		"ubuntu:":                               "form",
		"ubuntu:bad tag":                        "form",
		"x:" + strings.Repeat("t", 129):         "form",
		"ubuntu@sha256:abc":                     "digest",
		"../../etc/passwd":                      "form",
		"a/../b":                                "form",
		"x\x00y":                                "form",
		"x\xff":                                 "UTF-8",
		"x\ny":                                  "form",
		strings.Repeat("a", 64):                 "form",
		strings.Repeat("ab", 32):                "form",
		strings.Repeat("a/", 200) + "x":         "longer than 255",
		strings.Repeat("x", 10_000_000):         "10000000 bytes",
		"x:" + strings.Repeat("\U0001F6A2", 50): "form",
	} {
		t.Run(says, func(t *testing.T) {
			got, err := image.Normalize(in)
			if err == nil {
				t.Fatalf("Normalize(%.50q) = %q, want an error", in, got)
			}
			if text := err.Error(); !strings.Contains(text, says) || len(text) > 500 || strings.ContainsAny(text, "\x00\n") {
				t.Errorf("Normalize(%.50q) says %q, want something short with %q", in, text, says)
			}
		})
	}
}

func TestFamiliar(t *testing.T) {
	for in, want := range map[string]string{
		"docker.io/library/ubuntu:latest": "ubuntu:latest",
		"docker.io/local/x:latest":        "local/x:latest",
		"ghcr.io/a/b:1":                   "ghcr.io/a/b:1",
		"Not A Reference":                 "Not A Reference",
	} {
		if got := image.Familiar(in); got != want {
			t.Errorf("Familiar(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzNormalize(f *testing.F) {
	for _, seed := range []string{"ubuntu", "library/ubuntu:latest", "registry:5000/x/y@sha256:ab", "[::1]:5000/x", "A/b", "a//b", ":", "@"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		once, err := image.Normalize(in)
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		twice, err := image.Normalize(once)
		if err != nil || twice != once {
			t.Errorf("%q becomes %q and that %q, %v", in, once, twice, err)
		}
		if again, err := image.Normalize(image.Familiar(once)); err != nil || again != once {
			t.Errorf("%q has the short form %q, which becomes %q, %v", once, image.Familiar(once), again, err)
		}
	})
}

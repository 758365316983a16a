package client_test

import (
	"encoding/base64"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/client"
)

func TestEncodeScript(t *testing.T) {
	t.Parallel()
	for script, plain := range map[string]bool{
		"echo hello":             true,
		"#!/bin/sh\nid\n":        true,
		"./run.sh":               true,
		"hostname":               false, // also valid base64
		"bHM=":                   false, // a command that nobody has, but base64 of one
		"id\nls\n":               false,
		"žluťoučký":              true,
		"":                       true,
		"train":                  false,
		"a=b":                    false,
		"python3 -c 'print(42)'": true,
	} {
		got := client.EncodeScript(script)
		if plain {
			if got != script {
				t.Errorf("%q became %q", script, got)
			}
			continue
		}
		decoded, err := base64.StdEncoding.Strict().DecodeString(got)
		if err != nil || strings.TrimSuffix(string(decoded), "\n") != strings.TrimSuffix(script, "\n") {
			t.Errorf("%q became %q, which is %q", script, got, decoded)
		}
		if !strings.HasSuffix(string(decoded), "\n") {
			t.Errorf("%q became %q, which does not end its line", script, decoded)
		}
	}
}

func TestQuoteArgsByTheShell(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"plain"},
		{"two words", "it's", `a"b\c`, "$HOME", "`id`", "*", "", "new\nline", "é", "~", "a=b", "-n", "#c", "!x", "{a,b}"},
	} {
		line := `for a in ` + client.QuoteArgs(args) + `; do printf '%s\0' "$a"; done`
		out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", line).Output()
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00")
		if diff := cmp.Diff(args, got); diff != "" {
			t.Errorf("arguments (-want +got):\n%s", diff)
		}
	}
}

package agent

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// TestShellFiles has the shells of this machine read what the agent writes for shells.
func TestShellFiles(t *testing.T) {
	t.Parallel()
	nasty := "a b'c\"d$HOME`id`\\ \nnext line; #* äöü\t~!"
	spec := validSpec()
	spec.Name, spec.Label = nasty, nasty
	script := jobInfo(spec) + jobEnv([]agentapi.Setting{{Key: "VALUE", Value: "old"}, {Key: "VALUE", Value: nasty}, {Key: "not-a-name", Value: "x"}, {Key: "1", Value: "x"}, {Key: "EMPTY"}}) +
		"printf '%s\\0' \"$JOB_NAME\" \"$JOB_LABEL\" \"$VALUE\" \"$EMPTY\" \"$JOB_PUBLICIP\""
	want := strings.Repeat(nasty+"\x00", 3) + "\x00\x00"
	tried := 0
	for _, shell := range [][]string{{"dash", "-e"}, {"bash", "-e"}, {"busybox", "sh", "-e"}} {
		if _, err := exec.LookPath(shell[0]); err != nil {
			continue
		}
		tried++
		got, err := exec.Command(shell[0], append(shell[1:], "-c", script)...).CombinedOutput()
		if diff := cmp.Diff(want, string(got)); diff != "" || err != nil {
			t.Errorf("%s: %v (-want +got):\n%s", shell, err, diff)
		}
	}
	if tried < 2 {
		t.Errorf("only %d shells tried; want at least two", tried)
	}
}

func TestPlainLabelIsBare(t *testing.T) {
	t.Parallel()
	spec := validSpec()
	spec.Label, spec.Nodes[0].Address = "a-label_1", "10.1.2.3"
	want := ":\nJOB_NAME=\"a-job\"\nJOB_LABEL=a-label_1\nJOB_PRIVATEIP=10.1.2.3\nJOB_PUBLICIP=\n"
	if diff := cmp.Diff(want, jobInfo(spec)); diff != "" {
		t.Errorf("jobinfo.sh (-want +got):\n%s", diff)
	}
}

package agentapi_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-hpc/berth/internal/agentapi"
)

func TestCheckFile(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"/opt/x", "/opt/JARVICE/jobscript", "/database", "/etc/passwords", "/run/x", "/sbin/init"} {
		if err := agentapi.CheckFile(name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{
		"", "/", "opt/x", "/opt/../etc/passwd", "/opt//x", "/opt/x/", "/opt/\x00", "/data", "/data/x", "/proc/self/mem", "/sys/x", "/dev/null",
		"/run/berth/spec.json", "/run/berth-init", "/etc/JARVICE/cmdline", "/var/JARVICE/c/hosts", "/etc/passwd", "/etc/group", "/etc/shadow",
	} {
		if agentapi.CheckFile(name) == nil {
			t.Errorf("%q is allowed", name)
		}
	}
}

func TestBegun(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files map[string]string
		want  bool
	}{
		"nothing":                        {nil, false},
		"what the agent was told":        {map[string]string{agentapi.SpecFile: "{}", agentapi.OutputFile: ""}, false},
		"output":                         {map[string]string{agentapi.OutputFile: "x"}, true},
		"a report and output":            {map[string]string{agentapi.OutputFile: "x", agentapi.ReportFile: "{}"}, true},
		"a report after a power failure": {map[string]string{agentapi.OutputFile: "", agentapi.ReportFile: "{}"}, true},
	} {
		dir := t.TempDir()
		for file, text := range test.files {
			if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := agentapi.Begun(dir); err != nil || got != test.want {
			t.Errorf("%s: %v, %v; want %v", name, got, err, test.want)
		}
	}
}

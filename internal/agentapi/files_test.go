package agentapi_test

import (
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

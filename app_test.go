package berth_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

func TestNumbered(t *testing.T) {
	run := berth.Run{
		Argv: []string{"/bin/app", "/jobs/MARK/8888/"}, Shell: "app --base=/jobs/MARK/", Variables: []berth.Setting{{Key: "MARK", Value: "MARK MARK"}},
		BasePath: "jobs/MARK/8888", NumberMark: "MARK", Password: "MARK",
	}
	want := berth.Run{
		Argv: []string{"/bin/app", "/jobs/17/8888/"}, Shell: "app --base=/jobs/17/", Variables: []berth.Setting{{Key: "MARK", Value: "17 17"}},
		BasePath: "jobs/17/8888", Password: "MARK",
	}
	if diff := cmp.Diff(want, run.Numbered(17)); diff != "" {
		t.Errorf("numbered (-want +got):\n%s", diff)
	}
	if run.Argv[1] != "/jobs/MARK/8888/" || run.Variables[0].Value != "MARK MARK" {
		t.Errorf("the run itself changed: %+v", run)
	}
	if diff := cmp.Diff(want, want.Numbered(18)); diff != "" {
		t.Errorf("numbered twice:\n%s", diff)
	}
}

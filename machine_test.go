package berth_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/berth-hpc/berth"
)

func capacities() *rapid.Generator[berth.Capacity] {
	return rapid.Custom(func(t *rapid.T) berth.Capacity {
		n := rapid.IntRange(0, 1000)
		return berth.Capacity{
			Cores: n.Draw(t, "cores"), RAM: int64(n.Draw(t, "ram")), GPUs: n.Draw(t, "gpus"), Slots: n.Draw(t, "slots"),
		}
	})
}

// TestCapacities: what fits can be taken, and n at once are as many one after the other.
func TestCapacities(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, need := capacities().Draw(t, "have"), capacities().Draw(t, "need")
		left := have.Minus(need)
		if fits := left.Cores >= 0 && left.RAM >= 0 && left.GPUs >= 0 && left.Slots >= 0; fits != have.Fits(need) {
			t.Fatalf("it is %v that %+v fits into %+v", have.Fits(need), need, have)
		}
		times := rapid.IntRange(0, 5).Draw(t, "times")
		for range times {
			left = left.Minus(need)
		}
		if left != have.Minus(need.Times(times+1)) {
			t.Fatalf("%+v without %+v, one after the other and %d at once, differs", have, need, times+1)
		}
	})
}

func TestNodes(t *testing.T) {
	job := berth.Job{Number: 12}
	if job.Nodes() != 1 {
		t.Errorf("without a number: %d nodes", job.Nodes())
	}
	job.Submission.Machine.Nodes = 3
	if job.Nodes() != 3 {
		t.Errorf("%d nodes, want 3", job.Nodes())
	}
	if first, last := job.NodeName(0), job.NodeName(2); first != "jarvice-job-12" || last != "jarvice-job-12-3" {
		t.Errorf("names %s and %s", first, last)
	}
}

// TestANodeThatEnds fails its job and is named, unless somebody wanted the job to end.
func TestANodeThatEnds(t *testing.T) {
	job := berth.Job{Number: 1, State: berth.StateRunning, Attempt: "a"}
	exit := berth.Exit{Known: true, Ran: true, Code: 137, Signal: 9, Node: "jarvice-job-1-2", Detail: "out of memory"}
	ended, err := berth.Apply(job, berth.Event{Kind: berth.EventEnded, Exit: exit})
	want := berth.End{Reason: berth.EndNodeFailed, ExitCode: -1, Detail: "node jarvice-job-1-2 ended: out of memory"}
	if err != nil || ended.State != berth.StateFailed || ended.End != want {
		t.Errorf("%s, %+v, %v; want %+v", ended.State, ended.End, err, want)
	}
	job.Wish, job.WishBy = berth.WishTerminate, "ada"
	if ended, err = berth.Apply(job, berth.Event{Kind: berth.EventEnded, Exit: exit}); err != nil || ended.State != berth.StateTerminated {
		t.Errorf("%s, %+v, %v; want terminated", ended.State, ended.End, err)
	}
}

func TestPublicAddressFor(t *testing.T) {
	everybodys, adas := berth.PublicAddress{Address: "192.0.2.1"}, berth.PublicAddress{Address: "192.0.2.1", Users: []string{"ada", "bob"}}
	if !everybodys.For("eve") || adas.For("eve") || !adas.For("bob") || adas.String() != "192.0.2.1=ada,bob" {
		t.Errorf("%v, %v", everybodys, adas)
	}
}

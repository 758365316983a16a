package berth_test

import (
	"testing"
	"time"

	"github.com/berth-hpc/berth"
)

// noon is some time; tests of the domain need no clock.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestWalltime(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		job  berth.Job
		want time.Duration
	}{
		"never started":     {berth.Job{Ended: noon}, 0},
		"still runs":        {berth.Job{Started: noon}, 0},
		"ended":             {berth.Job{Started: noon, Ended: noon.Add(17 * time.Second)}, 17 * time.Second},
		"clock turned back": {berth.Job{Started: noon, Ended: noon.Add(-time.Minute)}, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.job.Walltime(); got != test.want {
				t.Errorf("Walltime() = %v; want %v", got, test.want)
			}
		})
	}
}

func TestDeadline(t *testing.T) {
	t.Parallel()
	limited := berth.Submission{Walltime: time.Hour}
	tests := map[string]struct {
		job  berth.Job
		want time.Time
		ok   bool
	}{
		"no limit":    {berth.Job{Started: noon}, time.Time{}, false},
		"not started": {berth.Job{Submission: limited}, time.Time{}, false},
		"limited":     {berth.Job{Started: noon, Submission: limited}, noon.Add(time.Hour), true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := test.job.Deadline()
			if !got.Equal(test.want) || ok != test.ok {
				t.Errorf("Deadline() = %v, %v; want %v, %v", got, ok, test.want, test.ok)
			}
		})
	}
}

func TestCapacity(t *testing.T) {
	t.Parallel()
	free := berth.Capacity{Cores: 2, RAM: 100, Slots: 3}
	tests := map[string]struct {
		need berth.Capacity
		fits bool
	}{
		"nothing":        {berth.Capacity{}, true},
		"exactly all":    {free, true},
		"too many cores": {berth.Capacity{Cores: 3, RAM: 100, Slots: 3}, false},
		"too much RAM":   {berth.Capacity{Cores: 2, RAM: 101, Slots: 3}, false},
		"too many slots": {berth.Capacity{Cores: 2, RAM: 100, Slots: 4}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := free.Fits(test.need); got != test.fits {
				t.Errorf("Fits(%+v) = %v; want %v", test.need, got, test.fits)
			}
			left := free.Minus(test.need)
			if got := left.Cores >= 0 && left.RAM >= 0 && left.Slots >= 0; got != test.fits {
				t.Errorf("Minus(%+v) = %+v, which disagrees with Fits", test.need, left)
			}
		})
	}
}

func TestMayControl(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		user berth.User
		want bool
	}{
		"owner":         {berth.User{Name: "ada"}, true},
		"somebody else": {berth.User{Name: "bob"}, false},
		"administrator": {berth.User{Name: "root", Admin: true}, true},
		"nobody":        {berth.User{}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := (berth.Caller{User: test.user}).MayControl("ada"); got != test.want {
				t.Errorf("MayControl = %v; want %v", got, test.want)
			}
		})
	}
}

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
	suspended := berth.Job{Started: noon, Submission: limited, Suspended: noon.Add(time.Minute), SuspendedFor: time.Second}
	resumed := suspended
	resumed.Suspended = time.Time{}
	tests := map[string]struct {
		job  berth.Job
		free bool
		want time.Time
		ok   bool
	}{
		"no limit":                           {job: berth.Job{Started: noon}},
		"not started":                        {job: berth.Job{Submission: limited}},
		"limited":                            {job: berth.Job{Started: noon, Submission: limited}, want: noon.Add(time.Hour), ok: true},
		"suspended time counts":              {job: suspended, want: noon.Add(time.Hour), ok: true},
		"suspended time that counts is over": {job: resumed, want: noon.Add(time.Hour), ok: true},
		"while it is free":                   {job: suspended, free: true},
		"after it was free":                  {job: resumed, free: true, want: noon.Add(time.Hour + time.Second), ok: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := test.job.Deadline(test.free)
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
		caller berth.Caller
		see    bool
		want   bool
	}{
		"owner":                   {berth.Caller{User: berth.User{Name: "ada", Team: "fluids"}}, true, true},
		"owner who may read":      {berth.Caller{User: berth.User{Name: "ada", Team: "fluids"}, ReadOnly: true}, true, false},
		"somebody else":           {berth.Caller{User: berth.User{Name: "bob"}}, false, false},
		"team mate":               {berth.Caller{User: berth.User{Name: "bob", Team: "fluids"}}, false, false},
		"team administrator":      {berth.Caller{User: berth.User{Name: "bob", Team: "fluids", TeamAdmin: true}}, true, true},
		"of another team":         {berth.Caller{User: berth.User{Name: "bob", Team: "solids", TeamAdmin: true}}, false, false},
		"payer":                   {berth.Caller{User: berth.User{Name: "eve", Team: "fluids", Payer: "eve"}}, true, true},
		"payer of another team":   {berth.Caller{User: berth.User{Name: "eve", Team: "solids", Payer: "eve"}}, false, false},
		"administrator":           {berth.Caller{User: berth.User{Name: "root", Admin: true}}, true, true},
		"administrator who reads": {berth.Caller{User: berth.User{Name: "root", Admin: true}, ReadOnly: true}, true, false},
		"nobody":                  {berth.Caller{}, false, false},
	}
	job := berth.Job{Owner: "ada", Team: "fluids", Payer: "eve"}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.caller.MaySee(job); got != test.see {
				t.Errorf("MaySee = %v; want %v", got, test.see)
			}
			if got := test.caller.MayControl(job); got != test.want {
				t.Errorf("MayControl = %v; want %v", got, test.want)
			}
		})
	}
	if (berth.Caller{User: berth.User{Name: "bob", TeamAdmin: true}}).MaySee(berth.Job{Owner: "ada"}) {
		t.Error("two users without a team are no team")
	}
}

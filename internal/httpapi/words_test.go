package httpapi

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

func TestStatusWords(t *testing.T) {
	type want struct {
		Status    string
		Substatus int
		Text      string
	}
	tests := map[string]struct {
		job  berth.Job
		want want
	}{
		"queued":   {berth.Job{State: berth.StateQueued, Wait: berth.WaitResources}, want{"SUBMITTED", 1, "Waiting for resources"}},
		"starting": {berth.Job{State: berth.StateStarting}, want{"PROCESSING STARTING", 0, ""}},
		"pulling": {
			berth.Job{State: berth.StateStarting, Wait: berth.WaitImage, WaitDetail: "12.3 of 45.6 MB"},
			want{"SUBMITTED", 5, "Pulling the image: 12.3 of 45.6 MB"},
		},
		"pulling, to be stopped": {
			berth.Job{State: berth.StateStarting, Wait: berth.WaitImage, Wish: berth.WishTerminate}, want{"SUBMITTED", 9, "Shutting down"},
		},
		"vault": {berth.Job{State: berth.StateQueued, Wait: berth.WaitVault}, want{"SUBMITTED", 4, "Waiting for the vault"}},
		"staging in": {
			berth.Job{State: berth.StateStarting, Wait: berth.WaitStagingIn, WaitDetail: "1 of 2 objects"},
			want{"SUBMITTED", 6, "Staging data in: 1 of 2 objects"},
		},
		"staging out": {berth.Job{State: berth.StateStagingOut, Wait: berth.WaitStagingOut}, want{"PROCESSING STARTING", 7, "Staging data out"}},
		"staging out after a shutdown": {
			berth.Job{State: berth.StateStagingOut, Wait: berth.WaitStagingOut, Wish: berth.WishStop},
			want{"PROCESSING STARTING", 7, "Staging data out"},
		},
		"running":           {berth.Job{State: berth.StateRunning}, want{"PROCESSING STARTING", 0, ""}},
		"asked to stop":     {berth.Job{State: berth.StateRunning, Wish: berth.WishStop}, want{"PROCESSING STARTING", 9, "Shutting down"}},
		"stopping":          {berth.Job{State: berth.StateStopping, Wait: berth.WaitStopping}, want{"PROCESSING STARTING", 9, "Shutting down"}},
		"starting, stopped": {berth.Job{State: berth.StateStarting, Wait: berth.WaitStopping}, want{"PROCESSING STARTING", 9, "Shutting down"}},
		"suspended":         {berth.Job{State: berth.StateRunning, Suspended: submittedAt()}, want{"PROCESSING STARTING", 8, "Suspended by user"}},
		"suspended and asked to stop": {
			berth.Job{State: berth.StateRunning, Suspended: submittedAt(), Wish: berth.WishStop}, want{"PROCESSING STARTING", 9, "Shutting down"},
		},
		"completed": {berth.Job{State: berth.StateCompleted}, want{"COMPLETED", 0, ""}},
		"completed after a wish": {
			berth.Job{State: berth.StateCompleted, Wish: berth.WishStop, End: berth.End{Reason: berth.EndShutdown}}, want{"COMPLETED", 0, ""},
		},
		"failed":     {berth.Job{State: berth.StateFailed}, want{"COMPLETED WITH ERROR", 0, ""}},
		"terminated": {berth.Job{State: berth.StateTerminated}, want{"TERMINATED", 0, ""}},
		"refused": {
			berth.Job{State: berth.StateCanceled, End: berth.End{Reason: berth.EndRefused, Detail: "no such image"}},
			want{"CANCELED", 0, "no such image"},
		},
	}
	for name, tt := range tests {
		sub := substatusOf(tt.job)
		if diff := cmp.Diff(tt.want, want{statusWord(tt.job), sub.number, sub.text}); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
	}
}

// TestEveryStateHasAWord would fail for a state that was added to the domain only.
func TestEveryStateHasAWord(t *testing.T) {
	for _, state := range berth.States() {
		word := statusWord(berth.Job{State: state})
		if ended := word != wordSubmitted && word != wordProcessing; ended != state.Final() {
			t.Errorf("state %s is shown as %s", state, word)
		}
	}
}

func TestClock(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "00:00:00", 17900 * time.Millisecond: "00:00:17", 61 * time.Minute: "01:01:00", 1000*time.Hour + 59*time.Second: "1000:00:59",
	} {
		if got := clock(d); got != want {
			t.Errorf("%v is shown as %s, want %s", d, got, want)
		}
	}
}

// TestStatusAnswers compares whole answers, because clients depend on every kind in them.
func TestStatusAnswers(t *testing.T) {
	a := newTestAPI(t)
	const name, times = `"job_name":"20230906104200-995TB-jarvice-batch-ada_s1"`, `"job_submit_time":1693996920`
	const what = `"job_application":"jarvice-batch","job_command":"Batch"`
	for number, want := range map[string]string{
		"7": `{"7":{` + name + `,"job_status":"SUBMITTED","job_substatus":1,"job_substatus_text":"Waiting for resources",` + times +
			`,"job_start_time":0,"job_end_time":0,` + what + `,"job_walltime":null,"job_project":"p1","job_exitcode":null}}`,
		"9": `{"9":{` + name + `,"job_status":"COMPLETED","job_substatus":0,"job_substatus_text":"",` + times +
			`,"job_start_time":1693996923,"job_end_time":1693996940,` + what + `,"job_walltime":"00:00:17","job_project":"p1","job_exitcode":0}}`,
	} {
		got := a.get("/jarvice/status?username=ada&apikey=adaskey1&number=" + number)
		if diff := cmp.Diff(want, got.body); diff != "" {
			t.Errorf("job %s (-want +got)\n%s", number, diff)
		}
	}
}

func TestJobEntries(t *testing.T) {
	a := newTestAPI(t)
	a.jobs[1].Submission.Walltime, a.jobs[1].Submission.Geometry = 26*time.Hour, "1280x720"
	a.jobs[1].Submission.Identity = &berth.Identity{Username: "flo", Group: "lab", UID: 1000, GID: 1001}
	a.jobs[1].Payer, a.jobs[1].Submission.AppPrice = "bob", 1.5
	a.jobs[1].Price = 2
	a.jobs[2].State, a.jobs[2].End = berth.StateFailed, berth.End{Reason: berth.EndLost, ExitCode: -1}
	var entries map[string]map[string]any
	got := a.get("/jarvice/jobs?all=1&username=ada&apikey=adaskey1")
	if err := json.Unmarshal([]byte(got.body), &entries); err != nil {
		t.Fatal(err)
	}
	stats := func(queue, compute, cost, appCost float64) map[string]any {
		return map[string]any{
			"queue_time": queue, "compute_time": compute, "wall_time": compute, "job_count": 1., "app_cost": appCost, "compute_cost": cost,
		}
	}
	for number, want := range map[string]map[string]any{
		"7": {"job_status": "SUBMITTED", "job_payer": "ada", "job_exitcode": nil, "job_walltime": "absent", "job_nodes": "", "job_stats": stats(60, 0, 0, 0)},
		"8": {
			"job_status": "PROCESSING STARTING", "job_exitcode": nil, "job_walltime": "absent", "job_nodes": "node1",
			"job_payer": "bob", "job_app_price": 1.5, "job_price": 2., "job_stats": stats(3, 57, 57.*2/3600, 57*1.5/3600), "job_sched_job_id": "berth-8-abc",
		},
		"9": {"job_status": "COMPLETED WITH ERROR", "job_exitcode": -1., "job_walltime": "00:00:17", "job_stats": stats(3, 17, 0, 0)},
	} {
		entry := entries[number]
		if _, there := entry["job_walltime"]; !there {
			entry["job_walltime"] = "absent"
		}
		shown := map[string]any{}
		for field := range want {
			shown[field] = entry[field]
		}
		if diff := cmp.Diff(want, shown); diff != "" {
			t.Errorf("job %s (-want +got)\n%s", number, diff)
		}
	}
	want := map[string]any{
		"user":        map[string]any{"username": "ada"},
		"application": map[string]any{"geometry": "1280x720", "walltime": "26:00:00"},
		"container":   map[string]any{"image": "library/debian:12", "jobscript": "echo <hello> && true", "interactive": false},
		"machine":     map[string]any{"type": "n0", "nodes": 1.},
		"vault":       map[string]any{"name": "ephemeral", "readonly": false, "force": false},
		"identity":    map[string]any{"username": "flo", "group": "lab", "uid": 1000., "gid": 1001.},
		"job_label":   "my label", "job_project": "p1", "queue": "",
	}
	if diff := cmp.Diff(want, entries["8"]["job_api_submission"]); diff != "" {
		t.Errorf("submission (-want +got)\n%s", diff)
	}
}

func TestMachineEntries(t *testing.T) {
	a := newTestAPI(t)
	var entries map[string]map[string]any
	got := a.get("/jarvice/machines?name=all&username=ada&apikey=adaskey1")
	if err := json.Unmarshal([]byte(got.body), &entries); err != nil {
		t.Fatal(err)
	}
	if len(entries) != 2 || entries["n0"]["mc_ram"] != 4. || entries["n1"]["mc_ram"] != 1. || entries["n0"]["mc_price"] != 0.5 {
		t.Errorf("machines: %s", got.body)
	}
	if got := a.get("/jarvice/machines?vault=none&username=ada&apikey=adaskey1"); got.status != 400 {
		t.Errorf("unknown vault: status %d: %s", got.status, got.body)
	}
}

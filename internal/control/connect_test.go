package control

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"github.com/berth-hpc/berth"
)

// TestConnect: people connect to interactive jobs while they run, with the password of the job.
func TestConnect(t *testing.T) {
	b := newBench(t)
	b.addApp(t, b.ada, "shown", appDef("", `,"interactive":true`, ""))
	b.addApp(t, b.ada, "hidden", appDef("", "", ""))
	job, run := b.submitApp(t, b.ada, appRequest("shown"))
	ref := JobRef{Number: job.Number}
	_, err := b.Connect(t.Context(), b.ada, ref)
	wantError(t, err, berth.NotFound, "Running job is not found")
	b.start(t, job, "sleep 1000")
	got, err := b.Connect(t.Context(), b.ada, ref)
	if diff := cmp.Diff(Connection{Password: run.Password}, got); diff != "" || err != nil || run.Password == "" {
		t.Errorf("%v\n%s", err, diff)
	}
	_, err = b.Connect(t.Context(), b.reader, ref)
	wantError(t, err, berth.Forbidden, "This key may only read")
	b.apply(t, job.Number, berth.EventEnded)
	_, err = b.Connect(t.Context(), b.ada, ref)
	wantError(t, err, berth.NotFound, "Running job is not found")

	hidden, _ := b.submitApp(t, b.ada, appRequest("hidden"))
	b.start(t, hidden, "sleep 1000")
	_, err = b.Connect(t.Context(), b.ada, JobRef{Number: hidden.Number})
	wantError(t, err, berth.NotFound, "Running job is not found")
}

// TestConnectToABatchJob: an interactive one has a password too.
func TestConnectToABatchJob(t *testing.T) {
	b := newBench(t)
	req := request()
	req.Submission.Container.Interactive = true
	job, err := b.Batch(t.Context(), b.ada, req)
	if err != nil {
		t.Fatal(err)
	}
	b.start(t, job, "sleep 1000")
	if got, err := b.Connect(t.Context(), b.ada, JobRef{Number: job.Number}); err != nil || len(got.Password) != passwordLength {
		t.Errorf("%+v, %v", got, err)
	}
	plain := b.submit(t)
	b.start(t, plain, "sleep 1000")
	_, err = b.Connect(t.Context(), b.ada, JobRef{Number: plain.Number})
	wantError(t, err, berth.NotFound, "Running job is not found")
}

// TestSSHKeyOfAJob: the public key is answered and the private one lies with what the job runs; a repetition gets the same one.
func TestSSHKeyOfAJob(t *testing.T) {
	b := newBench(t)
	req := request()
	req.GenSSHKey, req.IdempotencyKey, req.RequestHash = true, "once", "hash"
	job, err := b.Batch(t.Context(), b.ada, req)
	if err != nil {
		t.Fatal(err)
	}
	run, _, err := b.store.Run(t.Context(), job.Number)
	if err != nil {
		t.Fatal(err)
	}
	private, err := ssh.ParsePrivateKey(run.SSHKey)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.TrimSpace(string(ssh.MarshalAuthorizedKey(private.PublicKey()))) + " jarvice-batch"
	if job.Submission.SSHPublicKey != want {
		t.Errorf("the public key is %q, want %q", job.Submission.SSHPublicKey, want)
	}
	again, err := b.Batch(t.Context(), b.ada, req)
	if err != nil || again.Submission.SSHPublicKey != want {
		t.Errorf("a repetition got %q, %v", again.Submission.SSHPublicKey, err)
	}
	if other := b.submit(t); other.Submission.SSHPublicKey != "" {
		t.Errorf("a job has a key that nobody asked for: %q", other.Submission.SSHPublicKey)
	}
}

// TestActionsOfAnAppDef: those of the image win over those of the AppDef.
func TestActionsOfAnAppDef(t *testing.T) {
	b := newBench(t)
	b.addApp(t, b.ada, "app", appDef(`,"actions":{"hello":{"args":"exit 1","alt":"hidden"},"more":{"args":"echo more","alt":"Say more"}}`, "", ""))
	job, _ := b.submitApp(t, b.ada, appRequest("app"))
	b.start(t, job, "sleep 1000")
	ref := JobRef{Number: job.Number}
	info, err := b.Info(t.Context(), b.ada, ref)
	if diff := cmp.Diff(map[string]string{"hello": "Say hello", "more": "Say more"}, info.Actions); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	for _, name := range []string{"hello", "more"} {
		if err := b.Action(t.Context(), b.ada, ref, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if event := b.lastRecord(t).Event; event.Kind != berth.EventActionRequested || event.Detail != name {
			t.Errorf("%s is recorded as %+v", name, event)
		}
	}
	wantError(t, b.Action(t.Context(), b.ada, ref, "absent"), berth.Invalid, `Invalid parameter(s): action: "absent" is not one of hello, more`)
	wantError(t, b.Action(t.Context(), b.reader, ref, "more"), berth.Forbidden, "This key may only read")
}

// TestActionsAreThoseOfTheSubmission: a job keeps those of its AppDef whatever becomes of the application.
func TestActionsAreThoseOfTheSubmission(t *testing.T) {
	b := newBench(t)
	b.addApp(t, b.ada, "app", appDef(`,"actions":{"more":{"args":"echo more","alt":"Say more"}}`, "", ""))
	job, run := b.submitApp(t, b.ada, appRequest("app"))
	if diff := cmp.Diff([]berth.Action{{Name: "more", Args: "echo more", Alt: "Say more"}}, run.Actions); diff != "" {
		t.Error(diff)
	}
	b.start(t, job, "sleep 1000")
	ref := JobRef{Number: job.Number}
	change := ApplicationChange{AppDef: []byte(appDef(`,"actions":{"evil":{"args":"echo evil","alt":"Evil"}}`, "", ""))}
	if _, err := b.ChangeApplication(t.Context(), b.ada, "app", change); err != nil {
		t.Fatal(err)
	}
	check := func() {
		t.Helper()
		info, err := b.Info(t.Context(), b.ada, ref)
		if diff := cmp.Diff(map[string]string{"hello": "Say hello", "more": "Say more"}, info.Actions); diff != "" || err != nil {
			t.Errorf("%v\n%s", err, diff)
		}
		if err := b.Action(t.Context(), b.ada, ref, "more"); err != nil {
			t.Error(err)
		}
		wantError(t, b.Action(t.Context(), b.ada, ref, "evil"), berth.Invalid, "Invalid parameter(s): action: ")
	}
	check()
	if err := b.RemoveApplication(t.Context(), b.ada, "app"); err != nil {
		t.Fatal(err)
	}
	check()
}

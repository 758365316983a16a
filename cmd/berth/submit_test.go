package main

import (
	"encoding/base64"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestSubmissions holds what is sent.
func TestSubmissions(t *testing.T) {
	t.Parallel()
	script := write(t, "run.sh", "#!/bin/sh\necho \"<&>\"\n")
	auths := `{"auths":{"r.example":{"auth":"eA=="}}}`
	docker := write(t, "config.json", auths+"\n")
	encoded := base64.StdEncoding.EncodeToString([]byte(auths))
	secret := write(t, "secret", encoded+"\n")
	const batch = "POST /jarvice/batch?username=ada "
	for name, tc := range map[string]struct {
		args  []string
		stdin string
		want  string
	}{
		"line": {
			[]string{"-c", "hostname -f"},
			"",
			`{"container":{"image":"x","jobscript":"hostname -f"},"machine":{"type":"n0","nodes":1}}`,
		},
		"word that could be base64": {
			[]string{"-c", "hostname"},
			"",
			`{"container":{"image":"x","jobscript":"aG9zdG5hbWUK"},"machine":{"type":"n0","nodes":1}}`,
		},
		"file": {
			[]string{script},
			"",
			`{"container":{"image":"x","jobscript":"#!/bin/sh\necho \"\u003c\u0026\u003e\"\n"},"machine":{"type":"n0","nodes":1}}`,
		},
		"stdin": {
			[]string{"-"},
			"a b\n",
			`{"container":{"image":"x","jobscript":"a b\n"},"machine":{"type":"n0","nodes":1}}`,
		},
		"command": {
			[]string{"--", "echo", "it's", "-n", "--image"},
			"",
			`{"container":{"image":"x","jobscript":"echo 'it'\\''s' -n --image"},"machine":{"type":"n0","nodes":1}}`,
		},
		"everything": {
			[]string{
				"--machine", "n1", "--nodes", "2", "--vault", "v", "--vault-readonly", "--walltime", "01:00:00", "--label", "l",
				"--project", "p", "--pull-secret", docker, "-c", "a b",
			},
			"",
			`{"container":{"image":"x","jobscript":"a b","pullsecret":"` + encoded + `"},"machine":{"type":"n1","nodes":2},` +
				`"vault":{"name":"v","readonly":true},"application":{"walltime":"01:00:00"},"job_label":"l","job_project":"p"}`,
		},
		"block vault": {
			[]string{"--vault", "v", "--vault-force", "--vault-password-stdin", "-c", "a b"},
			"correct horse\r\n",
			`{"container":{"image":"x","jobscript":"a b"},"machine":{"type":"n0","nodes":1},"vault":{"name":"v","force":true,"password":"correct horse"}}`,
		},
		"secret in base64": {
			[]string{"--pull-secret", secret, "-c", "a b"},
			"",
			`{"container":{"image":"x","jobscript":"a b","pullsecret":"` + encoded + `"},"machine":{"type":"n0","nodes":1}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t, recorded())
			got := command{args: append([]string{"batch", "--image", "x"}, tc.args...), stdin: tc.stdin, env: f.env()}.run(t.Context(), t)
			check(t, result{Stdout: "job 12 n12\n"}, got)
			check(t, []string{batch + tc.want}, f.asked())
		})
	}
}

// TestSSHKey: the job line stays the first, and the key below it can be added to a file of authorized keys.
func TestSSHKey(t *testing.T) {
	t.Parallel()
	answer := text(200, `{"name":"n12","number":12,"ssh_public_key":"ssh-ed25519 AAAA jarvice-batch"}`)
	f := newFake(t, map[string]http.HandlerFunc{"POST /jarvice/batch": answer, "POST /jarvice/submit": answer})
	want := result{Stdout: "job 12 n12\nssh-ed25519 AAAA jarvice-batch\n"}
	check(t, want, f.berth(t, "batch", "--image", "x", "--gen-sshkey", "-c", "a b"))
	check(t, want, f.berth(t, "app", "run", "x", "Run", "--gen-sshkey"))
	check(t, want, f.berth(t, "submit", write(t, "job.json", `{"gen_sshkey":true}`)))
	const machine = `"machine":{"type":"n0","nodes":1},`
	check(t, []string{
		`POST /jarvice/batch?username=ada {"container":{"image":"x","jobscript":"a b"},` + machine + `"gen_sshkey":true}`,
		`POST /jarvice/submit?username=ada {"app":"x",` + machine + `"application":{"command":"Run"},"gen_sshkey":true}`,
		`POST /jarvice/submit?username=ada {"gen_sshkey":true}`,
	}, f.asked())
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]http.HandlerFunc{"POST /jarvice/batch": text(200, `{"name":"n12","number":0}`)})
	check(t, result{Stdout: "not submitted; it would be n12\n"}, f.berth(t, "batch", "--image", "x", "--dry-run", "-c", "a b"))
	check(t, []string{"POST /jarvice/batch?username=ada " +
		`{"container":{"image":"x","jobscript":"a b"},"machine":{"type":"n0","nodes":1},"application":{"nosubmit":true}}`}, f.asked())
}

func TestBadScripts(t *testing.T) {
	t.Parallel()
	f := newFake(t, nil)
	for name, tc := range map[string]struct{ stdin, want string }{
		"empty":  {" \n", "berth: script - is empty\n"},
		"binary": {"\x7fELF\x00", "berth: - is no text (a program has to be in the image or in the vault)\n"},
		"huge":   {strings.Repeat("x", maxInput+1), "berth: - is larger than 10 MiB (to run a command instead of a script: -- -, or -c)\n"},
	} {
		got := command{args: []string{"batch", "--image", "x", "-"}, stdin: tc.stdin, env: f.env()}.run(t.Context(), t)
		if got.Code != 1 || got.Stderr != tc.want {
			t.Errorf("%s: %+v", name, got)
		}
	}
	got := command{args: []string{"batch", "--image", "x", "--pull-secret", write(t, "s", "not base64!"), "-c", "id"}, env: f.env()}.run(t.Context(), t)
	if got.Code != 1 || !strings.Contains(got.Stderr, "holds neither a Docker configuration nor base64 of one") {
		t.Errorf("bad secret: %+v", got)
	}
	if asked := f.asked(); len(asked) > 0 {
		t.Errorf("the server was asked: %v", asked)
	}
}

func TestSubmitFile(t *testing.T) {
	t.Parallel()
	f := newFake(t, recorded())
	file := write(t, "job.json", `{"container":{"image":"x"},"user":{"username":"eve","apikey":"other"},"machine":{"type":"n0"}}`)
	check(t, result{Stdout: "job 12 n12\n"}, f.berth(t, "submit", file))
	check(t, result{Code: 3, Stdout: "job 12 n12\n", Stderr: "job 12: COMPLETED WITH ERROR: the command exited with code 3, after 00:00:17\n"},
		func() result {
			f := newFake(t, map[string]http.HandlerFunc{
				"POST /jarvice/submit": text(200, `{"name":"n12","number":12}`), "GET /v1/jobs/12": text(200, failed),
			})
			return command{args: []string{"submit", "--wait", "-"}, stdin: `{"machine":{}}`, env: f.env()}.run(t.Context(), t)
		}())
	check(t, []string{`POST /jarvice/submit?username=ada {"container":{"image":"x"},"machine":{"type":"n0"}}`}, f.asked())

	got := command{args: []string{"submit", "-"}, stdin: `[1]`, env: f.env()}.run(t.Context(), t)
	if got.Code != 1 || !strings.HasPrefix(got.Stderr, "berth: submission is no JSON object") {
		t.Errorf("no object: %+v", got)
	}
}

// TestPasswordOfAFile: it is added to the vault of the submission.
func TestPasswordOfAFile(t *testing.T) {
	t.Parallel()
	f := newFake(t, recorded())
	submit := func(submission string) result {
		args := []string{"submit", "--vault-password-stdin", write(t, "job.json", submission)}
		return command{args: args, stdin: "correct horse", env: f.env()}.run(t.Context(), t)
	}
	check(t, result{Stdout: "job 12 n12\n"}, submit(`{"vault":{"name":"v","force":true},"machine":{"type":"n0"}}`))
	check(t, []string{
		`POST /jarvice/submit?username=ada {"machine":{"type":"n0"},"vault":{"force":true,"name":"v","password":"correct horse"}}`,
	}, f.asked())
	check(t, result{1, "", "berth: --vault-password-stdin: the submission has no vault\n"}, submit(`{"machine":{"type":"n0"}}`))
	check(t, result{1, "", "berth: submission is no JSON object: unexpected end of JSON input\n"}, submit(""))
	check(t, result{2, "", "berth: the submission and the password cannot both be on stdin (see: berth submit --help)\n"},
		f.berth(t, "submit", "--vault-password-stdin", "-"))
	check(t, result{2, "", "berth: the script and the password cannot both be on stdin (see: berth batch --help)\n"},
		f.berth(t, "batch", "--image", "x", "--vault", "v", "--vault-password-stdin", "-"))
	check(t, result{2, "", "berth: --vault-force and --vault-password-stdin need --vault (see: berth batch --help)\n"},
		f.berth(t, "batch", "--image", "x", "--vault-force", "-c", "id"))
}

// TestLostAnswer loses the first answer after the server made the job: the same key is sent again, and there is one job.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	var jobs sync.Map
	var lost atomic.Bool
	f := newFake(t, map[string]http.HandlerFunc{"POST /jarvice/batch": func(w http.ResponseWriter, r *http.Request) {
		jobs.Store(r.Header.Get("Idempotency-Key"), true)
		if !lost.Swap(true) {
			panic(http.ErrAbortHandler)
		}
		text(200, `{"name":"n12","number":12}`)(w, r)
	}})
	check(t, result{Stdout: "job 12 n12\n"}, f.berth(t, "batch", "--image", "x", "-c", "id"))
	keys := f.idempotencyKeys()
	made := 0
	jobs.Range(func(any, any) bool { made++; return true })
	if made != 1 || len(keys) != 2 {
		t.Errorf("%d jobs after %d submissions, want 1 after 2", made, len(keys))
	}
}

// TestAnswerNeverComes wants the key in the message, so that a person can send the same again.
func TestAnswerNeverComes(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]http.HandlerFunc{"POST /jarvice/batch": func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	}})
	got := f.berth(t, "batch", "--image", "x", "-c", "id")
	if got.Code != 1 || !strings.Contains(got.Stderr, "--idempotency-key "+f.idempotencyKeys()[0]+",") {
		t.Errorf("%+v does not name the key %s", got, f.idempotencyKeys()[0])
	}
	got = f.berth(t, "batch", "--image", "x", "-c", "id", "--idempotency-key", "mine")
	if got.Code != 1 || !strings.Contains(got.Stderr, "--idempotency-key mine,") {
		t.Errorf("%+v does not name the key", got)
	}
}

// TestBillingSwitchedOff is a refusal with the status of a wrong key, which is not to blame.
func TestBillingSwitchedOff(t *testing.T) {
	t.Parallel()
	f := newFake(t, map[string]http.HandlerFunc{"POST /jarvice/batch": text(401, `{"error":"Account billing not active"}`)})
	check(t, result{Code: 1, Stderr: "berth: Account billing not active\n"}, f.berth(t, "batch", "--image", "x", "-c", "id"))
}

package httpapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

// validApplication has what one client or another sends: commas in the geometry, base64 with newlines, members that mean nothing here.
const validApplication = `{"app":"openfoam","staging":false,"checkedout":false,"application":{"command":"Run","geometry":"1,920x1,080",` +
	`"walltime":"1:00:00","parameters":{"-n":4,"-x":1.50,"--flag":true,"text":"a <b> \u00e4\\","-f":"IyEvYmluL3No\nZWNobwo=\n","none":null}},` +
	`"machine":{"type":"n0","nodes":1},"vault":{"name":"ephemeral","readonly":false,"force":false},"job_label":"l",` +
	`"gen_sshkey":true,"nopasssubt":false,"jobsub":"x","test_comment":1,"user":{"username":"ada","apikey":"adaskey1"}}`

// validScript is what sbatch sends, with values of variables that are no texts.
const validScript = `{"app":"openfoam","application":{"command":"HpcJob","geometry":"1280x720"},"machine":{"type":"n1","nodes":1},` +
	`"vault":{"name":"ephemeral","readonly":false,"force":false},"job_label":"SBATCH","user":{"username":"ada","apikey":"adaskey1"},` +
	`"hpc":{"hpc_job_env_config":"export A=1 || true","hpc_job_script":"ZWNobyBoaQo=","hpc_job_shell":"cd  && /bin/bash -l",` +
	`"hpc_queue":"big","hpc_umask":0,"hpc_envs":{"SLURM_JOB_NAME":"x","_":"/bin/y","N":3,"BASH_FUNC_f%%":"() {\n}"},` +
	`"hpc_resources":{"mc_name":"","mc_cores":"2","mc_ram":4}}}`

// change returns a submission with some text replaced, which must be there.
func change(t *testing.T, body string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(body, pairs[i]) {
			t.Fatalf("nothing to replace: %s", pairs[i])
		}
		body = strings.Replace(body, pairs[i], pairs[i+1], 1)
	}
	return body
}

func TestSubmissionsOfApplications(t *testing.T) {
	application := berth.Submission{
		App: "openfoam", Command: "Run", Geometry: "1,920x1,080", Walltime: time.Hour, Label: "l",
		Parameters: map[string]json.RawMessage{
			"-n": json.RawMessage(`4`), "-x": json.RawMessage(`1.50`), "--flag": json.RawMessage(`true`),
			"text": json.RawMessage(`"a <b> ä\\"`), "-f": json.RawMessage(`"IyEvYmluL3No\nZWNobwo=\n"`),
		},
		Machine: berth.MachineRequest{Type: "n0", Nodes: 1}, Vault: berth.VaultRequest{Name: "ephemeral"},
	}
	script := berth.Submission{
		App: "openfoam", Command: "HpcJob", Geometry: "1280x720", Label: "SBATCH", Queue: "big",
		HPC: &berth.HPC{
			Queue: "big", EnvConfig: "export A=1 || true", Shell: "cd  && /bin/bash -l", Script: "ZWNobyBoaQo=",
			Envs:      map[string]string{"SLURM_JOB_NAME": "x", "_": "/bin/y", "N": "3", "BASH_FUNC_f%%": "() {\n}"},
			Resources: map[string]string{"mc_name": "", "mc_cores": "2", "mc_ram": "4"},
		},
		Machine: berth.MachineRequest{Type: "n1", Nodes: 1}, Vault: berth.VaultRequest{Name: "ephemeral"},
	}
	with := func(sub berth.Submission, change func(*berth.Submission)) berth.Submission {
		change(&sub)
		return sub
	}
	const container = `{"container":{"image":"x","jobscript":"y","pullsecret":"e30="},`
	tests := map[string]struct {
		body string
		want berth.Submission
	}{
		"application":          {validApplication, application},
		"with a container":     {container + validApplication[1:], application},
		"without a vault":      {change(t, validApplication, `"vault":{"name":"ephemeral","readonly":false,"force":false}`, `"vault":null`), with(application, withoutVault)},
		"no parameters":        {change(t, validApplication, `"parameters":{`, `"parameters":null,"x":{`), with(application, func(s *berth.Submission) { s.Parameters = nil })},
		"half of a character":  {change(t, validApplication, `\u00e4\\`, `\ud800`), with(application, withParameter("text", `"a <b> `+"\uFFFD"+`"`))},
		"script":               {validScript, script},
		"script, no container": {container + validScript[1:], script},
		"the least of a script": {
			`{"hpc":{},"user":{"username":"ada","apikey":"adaskey1"}}`,
			berth.Submission{
				Command: "HpcJob", HPC: &berth.HPC{}, Machine: berth.MachineRequest{Nodes: 1},
			},
		},
		"script without machine type": {
			change(t, validScript, `"machine":{"type":"n1","nodes":1}`, `"machine":{"type":null}`),
			with(script, func(s *berth.Submission) { s.Machine.Type = "" }),
		},
		"umask as text": {
			change(t, validScript, `"hpc_umask":0`, `"hpc_umask":"18"`),
			with(script, func(s *berth.Submission) { hpc := *s.HPC; hpc.Umask = 18; s.HPC = &hpc }),
		},
		"queue at the top": {
			change(t, validScript, `"hpc_queue":"big"`, `"hpc_queue":""`, `"app":"openfoam"`, `"queue":"q"`),
			with(script, func(s *berth.Submission) { hpc := *s.HPC; hpc.Queue = ""; s.HPC, s.App, s.Queue = &hpc, "", "q" }),
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			a := newTestAPI(t)
			got := a.send(http.MethodPost, "/jarvice/submit", form, tt.body)
			const want = `{"name":"20230906104200-AAAAA-openfoam-ada_s1","number":123066}`
			if got.status != http.StatusOK || got.body != want {
				t.Fatalf("status %d: %s", got.status, got.body)
			}
			if diff := cmp.Diff(tt.want, a.application.Submission, cmp.Transformer("", func(m json.RawMessage) string { return string(m) })); diff != "" {
				t.Errorf("submission (-want +got)\n%s", diff)
			}
			if a.application.PullSecret != "" {
				t.Errorf("the secret of a container came along: %q", a.application.PullSecret)
			}
		})
	}
}

func withParameter(key, value string) func(*berth.Submission) {
	return func(s *berth.Submission) {
		s.Parameters = maps.Clone(s.Parameters)
		s.Parameters[key] = json.RawMessage(value)
	}
}

// TestApplicationsShownAgain checks what listings tell of a submission: everything but secrets, in the kinds that clients decode.
func TestApplicationsShownAgain(t *testing.T) {
	const user, vault = `{"user":{"username":"ada"},"app":"openfoam",`, `"vault":{"name":"ephemeral","readonly":false,"force":false},`
	for name, tt := range map[string]struct{ body, want string }{
		"application": {
			validApplication, user + `"application":{"command":"Run","geometry":"1,920x1,080","walltime":"01:00:00","parameters":{` +
				`"--flag":true,"-f":"IyEvYmluL3No\nZWNobwo=\n","-n":4,"-x":1.50,"text":"a <b> ä\\"}},"machine":{"type":"n0","nodes":1},` +
				vault + `"job_label":"l","job_project":"","queue":""}`,
		},
		"script": {
			validScript, user + `"application":{"command":"HpcJob","geometry":"1280x720"},"hpc":{"hpc_job_env_config":"export A=1 || true",` +
				`"hpc_envs":{"BASH_FUNC_f%%":"() {\n}","N":"3","SLURM_JOB_NAME":"x","_":"/bin/y"},"hpc_queue":"big",` +
				`"hpc_resources":{"mc_cores":"2","mc_name":"","mc_ram":"4"},"hpc_job_script":"ZWNobyBoaQo=",` +
				`"hpc_job_shell":"cd  && /bin/bash -l","hpc_umask":0},"machine":{"type":"n1","nodes":1},` +
				vault + `"job_label":"SBATCH","job_project":"","queue":"big"}`,
		},
	} {
		a := newTestAPI(t)
		body := change(t, tt.body, `"application":{`, `"application":{"nosubmit":true,`)
		var answer struct {
			Job struct {
				Submission json.RawMessage `json:"job_api_submission"`
			}
		}
		got := a.send(http.MethodPost, "/jarvice/submit", contentJSON, body)
		if err := json.Unmarshal([]byte(got.body), &answer); err != nil || got.status != http.StatusOK {
			t.Fatalf("%s: status %d: %v: %s", name, got.status, err, got.body)
		}
		if diff := cmp.Diff(tt.want, string(answer.Job.Submission)); diff != "" {
			t.Errorf("%s (-want +got)\n%s", name, diff)
		}
		if strings.Contains(got.body, testKey) {
			t.Errorf("%s: the key is shown: %s", name, got.body)
		}
	}
}

func TestApplicationRefusals(t *testing.T) {
	const malformed = "Missing or Malformed API Syntax: "
	parameter := func(text string) string { return change(t, validApplication, `"-n":4`, text) }
	script := func(pairs ...string) string { return change(t, validScript, pairs...) }
	var many []string
	for i := range maxMembers + 1 {
		many = append(many, fmt.Sprintf(`"%d":1`, i))
	}
	tests := map[string]struct {
		body string
		text string
	}{
		"command is a number":   {change(t, validApplication, `"Run"`, "1"), "application.command: 1 was sent, a text is allowed"},
		"command with newline":  {change(t, validApplication, `"Run"`, `"R\n"`), "application.command: "},
		"no command":            {change(t, validApplication, `"Run"`, `""`), "application.command: nothing was sent, a command of the application is required"},
		"application is a list": {change(t, validScript, `{"command":"HpcJob","geometry":"1280x720"}`, "[]"), "application: a list was sent, an object is allowed"},
		"parameters are a list": {change(t, validApplication, `"parameters":{`, `"parameters":[],"x":{`), "application.parameters: a list was sent, an object is allowed"},
		"parameter is a list":   {parameter(`"-n":[1]`), "application.parameters.-n: a list was sent, a text, a number, true or false is allowed"},
		"parameter is an object": {
			parameter(`"-n":{}`), "application.parameters.-n: an object was sent, a text, a number, true or false is allowed",
		},
		"number too large":   {parameter(`"-n":1e999`), "application.parameters.-n: 1e999 was sent, a number of at most 64 characters is allowed"},
		"number too long":    {parameter(`"-n":` + strings.Repeat("1", 5000)), "application.parameters.-n: "},
		"text with NUL":      {parameter(`"-n":"a\u0000"`), "application.parameters.-n: a text with a NUL byte was sent, a text without one is allowed"},
		"key too long":       {parameter(`"` + strings.Repeat("k", 257) + `":1`), "application.parameters: a key of 257 bytes was sent, 1 to 256 are allowed"},
		"empty key":          {parameter(`"":1`), "application.parameters: a key of 0 bytes was sent, 1 to 256 are allowed"},
		"key with newline":   {parameter(`"a\nb":1`), `application.parameters: the key "a\nb" was sent, one without control characters is allowed`},
		"many parameters":    {parameter(strings.Join(many, ",")), "application.parameters: an object with 4102 members was sent, at most 4096 are allowed"},
		"public address":     {change(t, validApplication, `"staging":false`, `"publicIP":2`), "publicIP: 2 was sent, true or false is allowed"},
		"own address":        {change(t, validApplication, `"walltime"`, `"ipaddr":"10.0.0","walltime"`), "application.ipaddr: "},
		"many nodes":         {change(t, validApplication, `"nodes":1`, `"nodes":20000`), "machine.nodes: 20000 was sent, a whole number from 1 to 10000 is allowed"},
		"no machine type":    {change(t, validApplication, `"type":"n0"`, `"type":null`), "machine.type: null was sent, the name of a machine type is required"},
		"no machine":         {change(t, validApplication, `"machine":{"type":"n0","nodes":1}`, `"machine":null`), "machine: null was sent, an object with type and nodes is required"},
		"script is a text":   {script(`"hpc":{`, `"hpc":"x","y":{`), `hpc: "x" was sent, an object is allowed`},
		"script, many nodes": {script(`"nodes":1`, `"nodes":20000`), "machine.nodes: 20000 was sent, a whole number from 1 to 10000 is allowed"},
		"umask":              {script(`"hpc_umask":0`, `"hpc_umask":512`), "hpc.hpc_umask: 512 was sent, a whole number from 0 to 511 is allowed"},
		"script as list":     {script(`"ZWNobyBoaQo="`, "[]"), "hpc.hpc_job_script: a list was sent, a text is allowed"},
		"queue":              {script(`"big"`, "5"), "hpc.hpc_queue: 5 was sent, a text is allowed"},
		"variable":           {script(`"N":3`, `"N":[]`), "hpc.hpc_envs.N: a list was sent, a text is allowed"},
		"variable with =":    {script(`"N":3`, `"N=1":""`), `hpc.hpc_envs: the key "N=1" was sent, one without = is allowed`},
		"many variables":     {script(`"N":3`, strings.Join(many, ",")), "hpc.hpc_envs: an object with 4100 members was sent, at most 4096 are allowed"},
		"resources":          {script(`"mc_ram":4`, `"mc_ram":{}`), "hpc.hpc_resources.mc_ram: an object was sent, a text is allowed"},
	}
	a := newTestAPI(t)
	for name, tt := range tests {
		got := a.send(http.MethodPost, "/jarvice/submit", contentJSON, tt.body)
		if text := got.errorText(t); got.status != 400 || !matches(text, malformed+tt.text) {
			t.Errorf("%s: status %d: %s; want %s", name, got.status, text, tt.text)
		}
	}
	if a.application.Submission.Command != "" {
		t.Errorf("control was asked for %+v", a.application)
	}
}

// TestBatchForgetsApplications checks that what clients send along with a container does not become part of the job.
func TestBatchForgetsApplications(t *testing.T) {
	a := newTestAPI(t)
	body := batchWith(t, "app", "x", "application.command", "Run", "application.parameters", map[string]any{"a": 1})
	if got := a.send(http.MethodPost, "/jarvice/batch", contentJSON, body); got.status != http.StatusOK {
		t.Fatalf("status %d: %s", got.status, got.body)
	}
	if sub := a.batch.Submission; sub.App != "" || sub.Command != "" || sub.Parameters != nil {
		t.Errorf("control was asked for %+v", sub)
	}
}

// withoutVault is what a submission means that names none: control knows the user's default.
func withoutVault(s *berth.Submission) { s.Vault.Name = "" }

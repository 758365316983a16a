package control

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/berth-hpc/berth"
)

// everyType has a parameter of every type, and hands all secrets on in every way.
var everyType = appDef(`,"variables":{"LICENSE":{"name":"l","description":"","userowned":true,"inherit":true}}`, "",
	strings.Join([]string{
		constant("-key", "%APIKEY%", "required"), constant("PASSWORD", "%NIMBIXPASSWD%", "variable"), constant("-token", "x%RANDOM64%y", "positional"),
		constant("-license", "$LICENSE", "positional"),
		`"STR":{"name":"s","description":"","type":"STR","required":false,"value":""}`,
		`"VAR":{"name":"s","description":"","type":"STR","required":false,"variable":true}`,
		`"INT":{"name":"i","description":"","type":"INT","min":-5,"max":5,"value":1,"required":false}`,
		`"FLOAT":{"name":"f","description":"","type":"FLOAT","min":0,"max":5,"precision":2,"required":false}`,
		`"RANGE":{"name":"r","description":"","type":"RANGE","min":0,"max":10,"step":2,"required":false}`,
		`"BOOL":{"name":"b","description":"","type":"BOOL","value":false,"required":false}`,
		`"FILE":{"name":"f","description":"","type":"FILE","filter":"*","required":false}`,
		`"UPLOAD":{"name":"u","description":"","type":"UPLOAD","target":"up","size":64,"required":false}`,
		`"SEL":{"name":"s","description":"","type":"selection","values":["a","b"],"mvalues":["1","2"],"required":false}`,
	}, ","))

// drawJSON makes parameters of all sorts: of the right type, of a wrong one, and no JSON.
func drawJSON() *rapid.Generator[json.RawMessage] {
	text := rapid.Map(rapid.String(), func(s string) json.RawMessage {
		quoted, err := json.Marshal(s)
		if err != nil {
			panic(err)
		}
		return quoted
	})
	return rapid.OneOf(
		text,
		rapid.Map(rapid.Float64Range(-10, 10), func(f float64) json.RawMessage { return strconv.AppendFloat(nil, f, 'g', -1, 64) }),
		rapid.Map(rapid.IntRange(-7, 7), func(i int) json.RawMessage { return strconv.AppendInt(nil, int64(i), 10) }),
		rapid.SampledFrom([]json.RawMessage{
			json.RawMessage(`true`), json.RawMessage(`"$LICENSE $(id) %APIKEY% %NIMBIXPASSWD%"`), json.RawMessage(`"aGVsbG8="`), json.RawMessage(`"a"`),
			json.RawMessage(`null`), json.RawMessage(`{}`), json.RawMessage(`[1]`), json.RawMessage(`1e999`), json.RawMessage(`"\ud800"`), json.RawMessage(`"\u0000"`),
		}),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 20), func(b []byte) json.RawMessage { return b }),
	)
}

const license = "1055@license.example"

// showsNoSecret checks the job as it was answered and as it is stored.
func showsNoSecret(t *testing.T, r *rapid.T, b *bench, job berth.Job) {
	run, found, err := b.store.Run(t.Context(), job.Number)
	if err != nil || !found || run.Token == "" {
		r.Fatalf("run %+v, %v", run, err)
	}
	stored, err := b.store.Job(t.Context(), job.Number)
	if err != nil {
		r.Fatal(err)
	}
	for _, row := range []string{asJSON(t, job), asJSON(t, stored)} {
		for _, secret := range []string{run.Token, run.Password, run.Random[:16], license} {
			if strings.Contains(row, secret) {
				r.Fatalf("the job shows %q: %s", secret, row)
			}
		}
	}
}

// TestWhateverIsSubmitted: whatever the parameters are, they are accepted or refused in words for who sent them; and no job shows the
// secrets that it was given.
func TestWhateverIsSubmitted(t *testing.T) {
	for _, expand := range []bool{false, true} {
		b := newBench(t, func(c *Config) { c.ExpandSubmitted = expand })
		if err := b.SetVariable(t.Context(), b.admin, "ada", "LICENSE", license); err != nil {
			t.Fatal(err)
		}
		b.addApp(t, b.ada, "app", everyType)
		keys := rapid.OneOf(
			rapid.SampledFrom([]string{"STR", "VAR", "INT", "FLOAT", "RANGE", "BOOL", "FILE", "UPLOAD", "SEL", "-key", "PASSWORD"}), rapid.String(),
		)
		accepted := 0
		rapid.Check(t, func(r *rapid.T) {
			req := appRequest("app")
			req.Submission.Parameters = rapid.MapOfN(keys, drawJSON(), 0, 4).Draw(r, "parameters")
			req.Submission.Label = rapid.String().Draw(r, "label")
			job, err := b.SubmitApplication(t.Context(), b.ada, req)
			if err != nil {
				if berth.KindOf(err) != berth.Invalid {
					r.Fatalf("%v (%s)", err, berth.KindOf(err))
				}
				return
			}
			accepted++
			showsNoSecret(t, r, b, job)
		})
		if accepted == 0 {
			t.Error("nothing was accepted: the test shows nothing")
		}
	}
}

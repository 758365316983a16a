package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

const asAda, asRoot = "username=ada&apikey=adaskey1", "username=root&apikey=rootskey1"

func TestJobAnswer(t *testing.T) {
	a := newTestAPI(t)
	a.jobs[2].State, a.jobs[2].WishBy = berth.StateTerminated, "root"
	a.jobs[2].End = berth.End{Reason: berth.EndTerminated, ExitCode: 137, Signal: 9, By: "root", Detail: "by hand"}
	got := a.get("/v1/jobs/9?" + asAda)
	want := `{"number":9,"name":"20230906104200-995TB-jarvice-batch-ada_s1","status":"TERMINATED","substatus":0,` +
		`"substatus_text":"by hand","state":"terminated","owner":"ada","team":"","payer":"ada","image":"docker.io/library/debian:12","label":"my label",` +
		`"project":"p1","application":"jarvice-batch","command":"Batch","machine":"n0","nodes":1,"submitted":"2023-09-06T10:42:00Z",` +
		`"started":"2023-09-06T10:42:03Z","ended":"2023-09-06T10:42:20Z","walltime_seconds":17,` +
		`"end":{"reason":"terminated","exit_code":137,"signal":9,"by":"root","detail":"by hand"}}`
	if diff := cmp.Diff(want, got.body); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	a.jobs[1].Suspended, a.jobs[1].Team, a.jobs[1].Payer = submittedAt().Add(9*time.Second), "lab", "bob"
	if got := a.get("/v1/jobs/8?" + asAda); !strings.Contains(got.body, `"team":"lab","payer":"bob"`) ||
		!strings.Contains(got.body, `"substatus":8,"substatus_text":"Suspended by user"`) ||
		!strings.Contains(got.body, `"suspended":"2023-09-06T10:42:09Z","walltime`) {
		t.Errorf("suspended: %s", got.body)
	}
	for path, status := range map[string]int{
		"7": 200, "4711": 404, "0": 404, "-1": 404, "abc": 404, "99999999999999999999": 404, "%2e%2e": 404,
	} {
		if got := a.get("/v1/jobs/" + path + "?" + asAda); got.status != status {
			t.Errorf("job %s: status %d: %s", path, got.status, got.body)
		}
	}
}

func TestWaitIsBounded(t *testing.T) {
	a := newTestAPI(t)
	for wait, want := range map[string]time.Duration{
		"5": 5 * time.Second, "30s": 30 * time.Second, "10h": time.Minute, "2147483648s": time.Minute, "1000000000": time.Minute,
	} {
		var left time.Duration
		a.waiting = func(ctx context.Context) {
			deadline, _ := ctx.Deadline()
			left = time.Until(deadline)
		}
		if got := a.get("/v1/jobs/8?" + asAda + "&wait=" + wait); got.status != http.StatusOK {
			t.Errorf("wait=%s: status %d: %s", wait, got.status, got.body)
		}
		if left > want || left == 0 || want-left > time.Minute/2 {
			t.Errorf("wait=%s: control may take %v", wait, left)
		}
	}
	for _, wait := range []string{"x", "-1s", "1e9", "99999999999999999999s"} {
		if got := a.get("/v1/jobs/8?" + asAda + "&wait=" + wait); got.status != http.StatusBadRequest {
			t.Errorf("wait=%s: status %d: %s", wait, got.status, got.body)
		}
	}
}

func TestJobOutput(t *testing.T) {
	a := newTestAPI(t)
	tests := map[string]struct{ query, contentType, body, offset string }{
		"all":       {"", "text/plain", "x\ny\uFFFD\nz\n", "0"},
		"offset":    {"&offset=2", "text/plain", "y\uFFFD\nz\n", "2"},
		"behind":    {"&offset=100", "text/plain", "", "100"},
		"raw":       {"&raw=1&offset=3", "application/octet-stream", "\xff\nz\n", "3"},
		"following": {"&follow=true", "text/plain", "x\ny\uFFFD\nz\n", "0"},
	}
	for name, tt := range tests {
		got := a.get("/v1/jobs/9/output?" + asAda + tt.query)
		shown := struct{ query, contentType, body, offset string }{
			tt.query, got.header.Get("Content-Type"), got.body, got.header.Get("Berth-Offset"),
		}
		if got.status != http.StatusOK || shown != tt {
			t.Errorf("%s: status %d, %q", name, got.status, shown)
		}
	}
	for path, status := range map[string]int{"9/output?offset=-1&": 400, "4711/output?": 404, "x/output?": 404} {
		if got := a.get("/v1/jobs/" + path + asAda); got.status != status {
			t.Errorf("%s: status %d: %s", path, got.status, got.body)
		}
	}
}

// TestFollowedOutputComesAtOnce writes one piece only after the one before was received, and cuts a character in two.
func TestFollowedOutputComesAtOnce(t *testing.T) {
	a := newTestAPI(t)
	reader, writer := io.Pipe()
	a.stream = func(context.Context) io.ReadCloser { return reader }
	resp, err := http.DefaultClient.Do(a.request(http.MethodGet, "/v1/jobs/8/output?follow=1&"+asAda, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK { // it is there before the first byte
		t.Fatalf("status %d", resp.StatusCode)
	}
	received := bufio.NewReader(resp.Body)
	for _, step := range []struct{ write, read string }{{"one\n", "one\n"}, {"\xc3", ""}, {"\xa4\n\xff\xc3\n", "ä\n\uFFFD\uFFFD\n"}} {
		if _, err := writer.Write([]byte(step.write)); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(step.read))
		if _, err := io.ReadFull(received, got); err != nil || string(got) != step.read {
			t.Fatalf("received %q, want %q: %v", got, step.read, err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(received); err != nil || len(rest) != 0 {
		t.Errorf("at the end: %q, %v", rest, err)
	}
}

// TestBrokenOutputLooksBroken checks that a client cannot take a part of an output for all of it.
func TestBrokenOutputLooksBroken(t *testing.T) {
	a := newTestAPI(t)
	text := "some\n"
	a.stream = func(context.Context) io.ReadCloser {
		return io.NopCloser(io.MultiReader(strings.NewReader(text), iotest.ErrReader(errors.New("disk on fire"))))
	}
	if got := a.get("/jarvice/output?lines=0&number=9&" + asAda); got.status != 500 || got.errorText(t) != "Internal error" {
		t.Errorf("one that breaks before the answer begins: status %d: %s", got.status, got.body)
	}
	text = strings.Repeat(text, smallOutput)
	resp, err := http.DefaultClient.Do(a.request(http.MethodGet, "/jarvice/output?lines=0&number=9&"+asAda, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the client takes %q for the whole output", body)
	}
	if log := a.log.String(); !strings.Contains(log, "disk on fire") {
		t.Errorf("the log says: %s", log)
	}
}

// TestGoneFollowerEndsTheStream checks that the server lets go when the client does.
func TestGoneFollowerEndsTheStream(t *testing.T) {
	a := newTestAPI(t)
	ended := make(chan struct{})
	a.stream = func(ctx context.Context) io.ReadCloser {
		reader, writer := io.Pipe()
		context.AfterFunc(ctx, func() {
			_ = writer.CloseWithError(ctx.Err())
			close(ended)
		})
		return reader
	}
	resp, err := http.DefaultClient.Do(a.request(http.MethodGet, "/v1/jobs/8/output?follow=1&"+asAda, nil))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	<-ended
}

func TestImages(t *testing.T) {
	a := newTestAPI(t)
	got := a.get("/v1/images?" + asAda)
	want := `{"images":[{"name":"local/x:latest","digest":"sha256:` + strings.Repeat("0", 64) +
		`","size":42,"created":"2023-09-06T10:42:00Z"},{"name":"local/y:latest","digest":"","size":0}]}`
	if diff := cmp.Diff(want, got.body); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for query, status := range map[string]int{
		"name=local/x:latest&" + asRoot: 200, "name=local/none:latest&" + asRoot: 404, asRoot: 400, "name=x": 400,
	} {
		if got := a.send(http.MethodDelete, "/v1/images?"+query, "", ""); got.status != status {
			t.Errorf("DELETE %s: status %d: %s", query, got.status, got.body)
		}
	}
}

func TestImportImage(t *testing.T) {
	a := newTestAPI(t)
	a.progress = []string{"reading", "1 of 2 MB"}
	archive := strings.Repeat("a", 20<<20) // more than a submission may have
	got := a.send(http.MethodPost, "/v1/images?name=local/x:latest&rootfs=1&"+asRoot, "application/octet-stream", archive)
	if got.status != http.StatusOK || got.header.Get("Content-Type") != "application/x-ndjson" {
		t.Fatalf("status %d, %s: %s", got.status, got.header.Get("Content-Type"), got.body)
	}
	want := `{"progress":"reading"}` + "\n" + `{"progress":"1 of 2 MB"}` + "\n" + `{"images":[{"name":"local/x:latest",`
	if !strings.HasPrefix(got.body, want) || !strings.HasSuffix(got.body, "}]}\n") {
		t.Errorf("lines: %s", got.body)
	}
	if a.imported != archive {
		t.Errorf("control read %d bytes", len(a.imported))
	}
	if diff := cmp.Diff(control.ImportRequest{Name: "local/x:latest", Rootfs: true}, a.importAs); diff != "" {
		t.Errorf("request (-want +got)\n%s", diff)
	}
}

func TestImportErrors(t *testing.T) {
	refused := &berth.Error{Kind: berth.Invalid, Msg: "Image refused", Detail: "no archive"}
	tests := map[string]struct {
		query    string
		progress []string
		err      error
		status   int
		body     string
	}{
		"no administrator":    {asAda, nil, nil, 403, `{"error":"Only an administrator may change images"}`},
		"before any progress": {asRoot, nil, refused, 400, `{"error":"Image refused: no archive"}`},
		"after progress":      {asRoot, []string{"p"}, refused, 200, `{"progress":"p"}` + "\n" + `{"error":"Image refused: no archive"}` + "\n"},
		"inside":              {asRoot, []string{"p"}, io.ErrUnexpectedEOF, 200, `{"progress":"p"}` + "\n" + `{"error":"Internal error"}` + "\n"},
		"wrong key":           {"username=root&apikey=x", nil, nil, 401, `{"error":"Unauthorized"}`},
	}
	for name, tt := range tests {
		a := newTestAPI(t)
		a.progress, a.fail["ImportImage"] = tt.progress, tt.err
		if got := a.send(http.MethodPost, "/v1/images?"+tt.query, "", "archive"); got.status != tt.status || got.body != tt.body {
			t.Errorf("%s: status %d: %s", name, got.status, got.body)
		}
	}
}

// TestProgressComesDuringTheUpload sends the second half of an archive only after the server told of the first.
func TestProgressComesDuringTheUpload(t *testing.T) {
	a := newTestAPI(t)
	a.progress = []string{"first half"}
	reader, writer := io.Pipe()
	resp, err := http.DefaultClient.Do(a.request(http.MethodPost, "/v1/images?name=x&"+asRoot, reader))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	var progress progressLine
	if err := lines.Decode(&progress); err != nil || progress.Progress != "first half" {
		t.Fatalf("progress %q: %v", progress, err)
	}
	if _, err := writer.Write([]byte("second half")); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	var images imagesAnswer
	if err := lines.Decode(&images); err != nil || len(images.Images) != 1 || a.imported != "second half" {
		t.Errorf("images %+v of %q: %v", images, a.imported, err)
	}
}

func TestPullImage(t *testing.T) {
	a := newTestAPI(t)
	a.progress = []string{"12 of 45 MB"}
	got := a.send(http.MethodPost, "/v1/images/pull?"+asRoot, "application/json", `{"name":"library/debian:12","pull_secret":"e30="}`)
	if got.status != http.StatusOK || !strings.HasPrefix(got.body, `{"progress":"12 of 45 MB"}`+"\n"+`{"images":[{"name":"library/debian:12"`) {
		t.Errorf("status %d: %s", got.status, got.body)
	}
	if got := a.send(http.MethodPost, "/v1/images/pull?"+asRoot, "application/json", `{}`); got.status != http.StatusBadRequest {
		t.Errorf("without a name: status %d: %s", got.status, got.body)
	}
}

package httpapi

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/control"
)

func TestShellPage(t *testing.T) {
	a := newTestAPI(t)
	a.page = control.WebPage{Session: "jobsession"}
	got := a.visit(http.MethodGet, "8-shell/?berth_token=jobtoken", nil)
	if got.status != http.StatusOK || !strings.Contains(got.header.Get("Content-Security-Policy"), "default-src 'self'") {
		t.Errorf("status %d: %s", got.status, got.body)
	}
	want := "berth_job=jobsession; Path=/; HttpOnly; SameSite=Lax"
	if cookie := got.header.Get("Set-Cookie"); cookie != want {
		t.Errorf("the cookie is %q; want %q", cookie, want)
	}
	for path, contentType := range map[string]string{
		"xterm.js": "application/javascript", "addon-fit.js": "application/javascript", "shell.js": "application/javascript", "xterm.css": "text/css",
	} {
		if !strings.Contains(got.body, `"`+path+`"`) {
			t.Errorf("the page does not load %s", path)
		}
		part := a.visit(http.MethodGet, "8-shell/"+path, nil)
		if part.status != http.StatusOK || part.header.Get("Content-Type") != contentType || strings.Contains(part.body, "sourceMappingURL") {
			t.Errorf("%s: status %d, %s", path, part.status, part.header.Get("Content-Type"))
		}
	}
	for path, status := range map[string]int{
		"8-shell/": 401, "7-shell/?berth_token=jobtoken": 401, "8-shell/?berth_token=x": 401, "x-shell/": 404, "0-shell/": 404,
		"8-shell/LICENSE.xterm": 404, "8-shell/socket": 400, "8-shell/socket?berth_token=jobtoken": 400, "8-shell/shell/socket": 404,
		"/v1/jobs/8/shell": 400, "/v1/jobs/x/shell?username=ada&apikey=" + testKey: 404, "/v1/jobs/8/shell?username=ada&apikey=" + testKey: 400,
	} {
		if got := a.visit(http.MethodGet, path, nil); got.status != status {
			t.Errorf("%s: status %d: %s; want %d", path, got.status, got.body, status)
		}
	}
}

// openShell opens the websocket, and returns it with the other end of the terminal.
func (a *testAPI) openShell(address string, header http.Header) (*websocket.Conn, *agentapi.Terminal) {
	a.t.Helper()
	label, path, _ := strings.Cut(address, "/")
	options := &websocket.DialOptions{HTTPHeader: header}
	if label != "" {
		options.Host = a.host(label)
	}
	socket, resp, err := websocket.Dial(a.t.Context(), a.url+"/"+path, options)
	if err != nil {
		a.t.Fatal(err)
	}
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	a.t.Cleanup(func() { _ = socket.CloseNow() })
	return socket, <-a.shells
}

func TestShellSocket(t *testing.T) {
	a := newTestAPI(t)
	socket, shell := a.openShell("8-shell/socket?columns=90&rows=33", http.Header{"Cookie": {"berth_job=jobsession"}})
	if diff := cmp.Diff(agentapi.TerminalSize{Columns: 90, Rows: 33}, a.terminalSize); diff != "" {
		t.Error(diff)
	}
	pasted := bytes.Repeat([]byte("x"), agentapi.MaxFrame+1)
	for _, message := range []struct {
		kind websocket.MessageType
		data []byte
		want []agentapi.Frame
	}{
		{websocket.MessageBinary, []byte("typed"), []agentapi.Frame{{Data: []byte("typed")}}},
		{websocket.MessageText, []byte(`{"columns":100,"rows":50}`), []agentapi.Frame{{Size: &agentapi.TerminalSize{Columns: 100, Rows: 50}}}},
		{websocket.MessageBinary, pasted, []agentapi.Frame{{Data: pasted[1:]}, {Data: pasted[:1]}}},
	} {
		if err := socket.Write(t.Context(), message.kind, message.data); err != nil {
			t.Fatal(err)
		}
		for _, want := range message.want {
			got, err := shell.Read()
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("%v\n%s", err, diff)
			}
		}
	}
	code := 3
	for _, shown := range []struct {
		frame agentapi.Frame
		kind  websocket.MessageType
		text  string
	}{
		{agentapi.Frame{Data: []byte("\xffshown")}, websocket.MessageBinary, "\xffshown"},
		{agentapi.Frame{End: &code}, websocket.MessageText, `{"exit":3}`},
	} {
		if err := shell.Write(shown.frame); err != nil {
			t.Fatal(err)
		}
		kind, data, err := socket.Read(t.Context())
		if kind != shown.kind || string(data) != shown.text || err != nil {
			t.Errorf("%v %q, %v; want %v %q", kind, data, err, shown.kind, shown.text)
		}
	}
	if _, _, err := socket.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("after the end: %v", err)
	}
}

// TestShellSocketHangsUp when its user goes, or says nonsense.
func TestShellSocketHangsUp(t *testing.T) {
	for name, leave := range map[string]func(*websocket.Conn) error{
		"gone":     func(s *websocket.Conn) error { return s.CloseNow() },
		"nonsense": func(s *websocket.Conn) error { return s.Write(t.Context(), websocket.MessageText, []byte("x")) },
	} {
		a := newTestAPI(t)
		socket, shell := a.openShell("/v1/jobs/8/shell", http.Header{"Authorization": {"Bearer " + testKey}})
		if a.terminalSize != defaultSize {
			t.Errorf("%s: the size is %v", name, a.terminalSize)
		}
		if err := leave(socket); err != nil {
			t.Fatal(err)
		}
		if frame, err := shell.Read(); err == nil {
			t.Errorf("%s: the shell gets %v", name, frame)
		}
	}
}

// TestShellSocketTellsTheEnd also to a user who was typing at that moment.
func TestShellSocketTellsTheEnd(t *testing.T) {
	a := newTestAPI(t)
	a.untaken = make(chan struct{}, 2)
	socket, shell := a.openShell("/v1/jobs/8/shell", http.Header{"Authorization": {"Bearer " + testKey}})
	for range 2 {
		if err := socket.Write(t.Context(), websocket.MessageBinary, []byte("late")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-a.untaken:
		case <-time.After(time.Minute):
			t.Fatal("the server hangs up when the terminal takes nothing")
		}
	}
	code := 40
	if err := shell.Write(agentapi.Frame{End: &code}); err != nil {
		t.Fatal(err)
	}
	if _, data, err := socket.Read(t.Context()); string(data) != `{"exit":40}` || err != nil {
		t.Errorf("the user gets %q, %v", data, err)
	}
}

// TestShellSocketEndsWithTheKey that opened it.
func TestShellSocketEndsWithTheKey(t *testing.T) {
	a := newTestAPI(t)
	a.revoked = make(chan struct{})
	_, shell := a.openShell("/v1/jobs/8/shell", http.Header{"Authorization": {"Bearer " + testKey}})
	_, other := a.openShell("8-shell/socket", http.Header{"Cookie": {"berth_job=jobsession"}})
	close(a.revoked)
	if frame, err := shell.Read(); err == nil {
		t.Errorf("the shell gets %v", frame)
	}
	if err := other.Write(agentapi.Frame{Data: []byte("x")}); err != nil {
		t.Errorf("a shell that was opened by the token of the job: %v", err)
	}
}

// TestShellSocketOfAnotherPage: a page of another host gets no shell, whatever cookies the browser has, nor does one of the job itself.
func TestShellSocketOfAnotherPage(t *testing.T) {
	a := newTestAPI(t)
	for _, origin := range []string{"http://evil.example.org", "http://" + a.host("8-8888"), "http://" + a.host("9-shell"), a.url, "null"} {
		_, resp, err := websocket.Dial(t.Context(), a.url+"/socket", &websocket.DialOptions{
			Host: a.host("8-shell"), HTTPHeader: http.Header{"Cookie": {"berth_job=jobsession"}, "Origin": {origin}},
		})
		if err == nil || resp.StatusCode != http.StatusUnauthorized {
			t.Fatalf("%s: %v, %v", origin, resp, err)
		}
		_ = resp.Body.Close()
	}
	socket, _ := a.openShell("8-shell/socket", http.Header{"Cookie": {"berth_job=jobsession"}, "Origin": {"http://" + a.host("8-shell")}})
	_ = socket.CloseNow()
}

package client_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/berth-hpc/berth/client"
)

// terminals serves the websocket of job 12 to a script.
func terminals(t *testing.T, script func(*websocket.Conn, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		socket, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = socket.CloseNow() }()
		socket.SetReadLimit(1 << 20)
		if err := script(socket, r); err != nil {
			t.Error(err)
		}
	}
}

// typed reads so many bytes.
func typed(r *http.Request, socket *websocket.Conn, length int) (string, error) {
	text := ""
	for len(text) < length {
		kind, data, err := socket.Read(r.Context())
		if err != nil || kind != websocket.MessageBinary {
			return text, errors.Join(errors.New("no bytes"), err)
		}
		text += string(data)
	}
	return text, nil
}

func TestShell(t *testing.T) {
	t.Parallel()
	pasted := strings.Repeat("0123456789", 20_000) // more than one message
	c := serve(t, terminals(t, func(socket *websocket.Conn, r *http.Request) error {
		if got := r.Method + " " + r.URL.RequestURI(); got != "GET /v1/jobs/12/shell?columns=80&rows=24&username=ada" || r.Header.Get("Authorization") != "Bearer key1" {
			t.Errorf("%s by %s", got, r.Header.Get("Authorization"))
		}
		if got, err := typed(r, socket, len(pasted)); got != pasted || err != nil {
			t.Errorf("what was pasted came as something else: %v", err)
		}
		if _, size, err := socket.Read(r.Context()); string(size) != `{"columns":100,"rows":50}` || err != nil {
			t.Errorf("size %s, %v", size, err)
		}
		reading := socket.CloseRead(r.Context()) // pongs are read
		return errors.Join(
			socket.Ping(reading),
			socket.Write(r.Context(), websocket.MessageBinary, []byte("short ")),
			socket.Write(r.Context(), websocket.MessageBinary, []byte(pasted)),
			socket.Write(r.Context(), websocket.MessageBinary, []byte(strings.Repeat("x", 200))),
			socket.Write(r.Context(), websocket.MessageText, []byte(`{"exit":3}`)),
		)
	}))
	shell, err := c.OpenShell(t.Context(), client.Number(12), client.TerminalSize{Columns: 80, Rows: 24})
	if err != nil {
		t.Fatal(err)
	}
	defer shell.Close()
	if n, err := io.WriteString(shell, pasted); n != len(pasted) || err != nil {
		t.Errorf("%d bytes typed, %v", n, err)
	}
	if err := shell.Resize(client.TerminalSize{Columns: 100, Rows: 50}); err != nil {
		t.Error(err)
	}
	if code := shell.ExitCode(); code != -1 {
		t.Errorf("exit code %d before the end", code)
	}
	text, err := io.ReadAll(shell)
	if string(text) != "short "+pasted+strings.Repeat("x", 200) || err != nil || shell.ExitCode() != 3 {
		t.Errorf("%d bytes shown, exit code %d, %v", len(text), shell.ExitCode(), err)
	}
	if err := errors.Join(shell.Close(), shell.Close()); err != nil && !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
}

// TestShellThatBreaksOff has no exit code, however it does.
func TestShellThatBreaksOff(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]func(*websocket.Conn, *http.Request) error{
		"gone": func(socket *websocket.Conn, _ *http.Request) error { return socket.CloseNow() },
		"goodbye": func(socket *websocket.Conn, _ *http.Request) error {
			_ = socket.Close(websocket.StatusGoingAway, "")
			return nil
		},
		"nonsense": func(socket *websocket.Conn, r *http.Request) error {
			return socket.Write(r.Context(), websocket.MessageText, []byte("x"))
		},
		"endless": func(socket *websocket.Conn, r *http.Request) error {
			_ = socket.Write(r.Context(), websocket.MessageBinary, make([]byte, 2<<20)) // the client has gone by then
			return nil
		},
	} {
		c := serve(t, terminals(t, script))
		shell, err := c.OpenShell(t.Context(), client.Number(12), client.TerminalSize{})
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(shell); err == nil || shell.ExitCode() != -1 {
			t.Errorf("%s: %d bytes, exit code %d, %v", name, len(text), shell.ExitCode(), err)
		}
		_ = shell.Close()
	}
}

func TestShellRefused(t *testing.T) {
	t.Parallel()
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"error":"Running job is not found"}`)
	})
	_, err := c.OpenShell(t.Context(), client.Number(12), client.TerminalSize{})
	if refused, ok := errors.AsType[*client.Error](err); !ok || refused.StatusCode != http.StatusNotFound {
		t.Errorf("error %v", err)
	}
	c = serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		w.WriteHeader(http.StatusSwitchingProtocols)
	})
	if _, err := c.OpenShell(t.Context(), client.Number(12), client.TerminalSize{}); err == nil {
		t.Error("an answer without proof is taken for a websocket")
	}
}

func TestScreenshot(t *testing.T) {
	t.Parallel()
	checkExchanges(t, map[string]exchange{
		"as it is": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return c.Screenshot(t.Context(), client.Number(12), client.ScreenshotSize{})
			},
			want: "GET /jarvice/screenshot?number=12&username=ada", answer: "PNG", result: []byte("PNG"),
		},
		"emphatic": {
			call: func(t *testing.T, c *client.Client) (any, error) {
				return c.Screenshot(t.Context(), client.Name("n"), client.ScreenshotSize{Width: 40, Height: 30, Emphatic: true})
			},
			want: "GET /jarvice/screenshot?emphatic=true&height=30&name=n&username=ada&width=40", answer: "PNG", result: []byte("PNG"),
		},
	})
}

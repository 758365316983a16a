package main

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// shellOf serves a shell that shows what is typed. A program in it takes the end of the input for its own; with the second one the shell
// ends, with a code.
func shellOf(t *testing.T, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		socket, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = socket.CloseNow() }()
		typed := r.URL.Query().Get("columns") + "x" + r.URL.Query().Get("rows") + " "
		for strings.Count(typed, endOfInput) < 2 {
			_, data, err := socket.Read(r.Context())
			if err != nil {
				t.Error(err)
				return
			}
			typed += string(data)
		}
		err = errors.Join(socket.Write(r.Context(), websocket.MessageBinary, []byte(strings.TrimRight(typed, endOfInput))),
			socket.Write(r.Context(), websocket.MessageText, []byte(`{"exit":`+code+`}`)))
		if err != nil {
			t.Error(err)
		}
	}
}

// TestShell without a terminal: the end of the input ends the shell, whose exit code is the program's.
func TestShell(t *testing.T) {
	for code, want := range map[string]int{"0": 0, "7": 7} {
		f := newFake(t, map[string]http.HandlerFunc{"GET /v1/jobs/12/shell": shellOf(t, code)})
		got := command{args: []string{"shell", "12"}, stdin: "~.\nhostname\n", env: f.env()}.run(t.Context(), t)
		check(t, result{Code: want, Stdout: "80x24 ~.\nhostname\n"}, got)
	}
	f := newFake(t, map[string]http.HandlerFunc{
		"GET /v1/jobs/12/shell": text(http.StatusNotFound, `{"error":"Running job is not found"}`),
	})
	check(t, result{1, "", "berth: job 12: Running job is not found (only running jobs have shells: berth status 12)\n"}, f.berth(t, "shell", "12"))
}

func TestScreenshot(t *testing.T) {
	const picture = "\x89PNG\r\n"
	f := newFake(t, map[string]http.HandlerFunc{"GET /jarvice/screenshot": raw(picture)})
	file := filepath.Join(t.TempDir(), "picture.png")
	check(t, result{Stdout: file + "\n"}, f.berth(t, "screenshot", "12", "-o", file, "--width", "40", "--emphatic"))
	if got, err := os.ReadFile(file); string(got) != picture || err != nil {
		t.Errorf("the file holds %q, %v", got, err)
	}
	check(t, result{Stdout: picture}, f.berth(t, "screenshot", "12", "-o", "-"))
	check(t, result{Stdout: "{\n  \"file\": \"" + file + "\",\n  \"bytes\": 6\n}\n"}, f.berth(t, "screenshot", "12", "-o", file, "--json"))
	check(t, []string{
		"GET /jarvice/screenshot?emphatic=true&number=12&username=ada&width=40", "GET /jarvice/screenshot?number=12&username=ada",
		"GET /jarvice/screenshot?number=12&username=ada",
	}, f.asked())
	t.Chdir(t.TempDir())
	check(t, result{Stdout: "screenshot-12.png\n"}, f.berth(t, "screenshot", "12"))

	f = newFake(t, map[string]http.HandlerFunc{"GET /jarvice/screenshot": text(http.StatusNotImplemented, `{"error":"Invalid image: no desktop"}`)})
	check(t, result{1, "", "berth: job 12: Invalid image: no desktop\n"}, f.berth(t, "screenshot", "12"))
}

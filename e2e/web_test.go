package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/coder/websocket"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/berth-hpc/berth/internal/berthdtest"
)

// upgradeCmd: upgrade PATH HEADER TEXT opens a websocket and prints the first line that comes, and what comes back for a text.
func upgradeCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg {
		ts.Fatalf("usage: upgrade PATH HEADER TEXT")
	}
	req, err := http.NewRequest(http.MethodGet, serverOf(ts).URL+args[0], nil)
	ts.Check(err)
	name, value, _ := strings.Cut(args[1], ": ")
	req.Header.Set(name, value)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	resp, err := http.DefaultTransport.RoundTrip(req)
	ts.Check(err)
	defer resp.Body.Close()
	conn, ok := resp.Body.(io.ReadWriter)
	if !ok {
		answer, _ := io.ReadAll(resp.Body)
		ts.Fatalf("status %d: %s", resp.StatusCode, answer)
	}
	in := bufio.NewReader(conn)
	first, err := in.ReadString('\n')
	ts.Check(err)
	_, err = fmt.Fprintln(conn, args[2])
	ts.Check(err)
	back, err := in.ReadString('\n')
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d\n%s%s", resp.StatusCode, first, back)
}

// addressCmd: address NAME FILE sets a variable to the path of the address of a job's page in an answer of info, and NAME_HELP to its help.
func addressCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: address NAME FILE")
	}
	_, text, _ := strings.Cut(ts.ReadFile(args[1]), "\n")
	var info struct{ URL, Help string }
	ts.Check(json.Unmarshal([]byte(text), &info))
	path, found := strings.CutPrefix(info.URL, serverOf(ts).URL)
	if !found {
		ts.Fatalf("%q is no address of this server", info.URL)
	}
	ts.Setenv(args[0], path)
	ts.Setenv(args[0]+"_HELP", info.Help)
}

// shellCmd: shell NUMBER KEY LINE types a line into a shell of a job, and prints what it shows and how it ends.
func shellCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg {
		ts.Fatalf("usage: shell NUMBER KEY LINE")
	}
	ctx, cancel := context.WithTimeout(context.Background(), berthdtest.ReadyWithin)
	defer cancel()
	address := serverOf(ts).URL + "/jobs/" + args[0] + "/shell/socket?columns=100&rows=30"
	socket, resp, err := websocket.Dial(ctx, address, &websocket.DialOptions{HTTPHeader: http.Header{"Authorization": {"Bearer " + args[1]}}})
	ts.Check(err)
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	defer func() { _ = socket.CloseNow() }()
	ts.Check(socket.Write(ctx, websocket.MessageBinary, []byte(args[2]+"\n")))
	for {
		kind, data, err := socket.Read(ctx)
		ts.Check(err)
		if kind == websocket.MessageText {
			var end struct{ Exit int }
			ts.Check(json.Unmarshal(data, &end))
			fmt.Fprintf(ts.Stdout(), "\nended with %d\n", end.Exit)
			return
		}
		_, _ = ts.Stdout().Write(data)
	}
}

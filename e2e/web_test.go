package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"image/color"
	"image/png"
	"io"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// browse carries requests as browsers do, which take all names below localhost for their own machine.
var browse = &http.Transport{
	DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, port, err := net.SplitHostPort(address); err == nil && strings.HasSuffix(host, ".localhost") {
			address = net.JoinHostPort("127.0.0.1", port)
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	},
	DisableKeepAlives: true,
}

// target is the address of a path of the server, or an address as it is.
func target(ts *testscript.TestScript, path string) string {
	if strings.HasPrefix(path, "http://") {
		return path
	}
	return serverOf(ts).URL + path
}

// upgradeCmd: upgrade ADDRESS HEADER TEXT opens a websocket and prints the first line that comes, and what comes back for a text.
func upgradeCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg {
		ts.Fatalf("usage: upgrade ADDRESS HEADER TEXT")
	}
	req, err := http.NewRequest(http.MethodGet, target(ts, args[0]), nil)
	ts.Check(err)
	name, value, _ := strings.Cut(args[1], ": ")
	req.Header.Set(name, value)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	resp, err := browse.RoundTrip(req)
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

// addressCmd: address NAME FILE sets a variable to the address of a job's page in an answer of info, and NAME_HELP to its help.
func addressCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: address NAME FILE")
	}
	_, text, _ := strings.Cut(ts.ReadFile(args[1]), "\n")
	var info struct{ URL, Help string }
	ts.Check(json.Unmarshal([]byte(text), &info))
	ts.Setenv(args[0], info.URL)
	ts.Setenv(args[0]+"_HELP", info.Help)
}

// pictureCmd: picture FILE WIDTHxHEIGHT COLOR checks the size of a picture, and the color in its middle, as rrggbb.
func pictureCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 3 || neg {
		ts.Fatalf("usage: picture FILE WIDTHxHEIGHT COLOR")
	}
	file, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer file.Close()
	picture, err := png.Decode(file)
	ts.Check(err)
	size := picture.Bounds().Size()
	middle := color.NRGBAModel.Convert(picture.At(size.X/2, size.Y/2)).(color.NRGBA)
	got := fmt.Sprintf("%dx%d %02x%02x%02x", size.X, size.Y, middle.R, middle.G, middle.B)
	if got != args[1]+" "+args[2] {
		ts.Fatalf("the picture is %s", got)
	}
}

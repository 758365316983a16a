package httpapi

import (
	"context"
	"embed"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/coder/websocket"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/control"
)

//go:embed assets
var shellAssets embed.FS

// shellPolicy makes browsers load nothing from other hosts. The terminal has styles of its own.
const shellPolicy = "default-src 'self'; style-src 'self' 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// shellTypes are the parts of the page, and their types.
var shellTypes = map[string]string{
	"xterm.js": contentScript, "addon-fit.js": contentScript, "shell.js": contentScript, "xterm.css": "text/css",
}

// maxTyped bounds what is typed at once; to paste more is refused.
const maxTyped = 1 << 20

// defaultSize is that of a terminal whose user does not say.
var defaultSize = agentapi.TerminalSize{Columns: 80, Rows: 24}

// shellVisit reads who wants a shell in which job.
func (s *server) shellVisit(c *call) (v *visit, err error) {
	v = s.siteVisit(c)
	v.path = "/"
	v.visitor, err = s.visitor(c, v)
	return v, err
}

// shellPage shows a terminal to whoever may have a shell.
func (s *server) shellPage(c *call) error {
	v, err := s.shellVisit(c)
	if err != nil {
		return err
	}
	if v.page.Session, err = s.control.Enter(c.r.Context(), v.visitor, v.number); err != nil {
		return err
	}
	if v.enters(c) {
		return c.redirectIn(v, v.page.Session)
	}
	if v.token != "" && v.page.Session != "" {
		c.w.Header().Add("Set-Cookie", v.session(c, v.page.Session).String())
	}
	return c.writeAsset("shell.html", contentHTML)
}

// shellAsset is a part of that page.
func (s *server) shellAsset(c *call) error {
	name := c.r.PathValue("asset")
	contentType, ok := shellTypes[name]
	if !ok {
		return &berth.Error{Kind: berth.NotFound, Msg: msgNoRoute, Detail: quote(c.r.URL.Path)}
	}
	c.w.Header().Set("Cache-Control", "max-age=3600")
	return c.writeAsset(name, contentType)
}

func (c *call) writeAsset(name, contentType string) error {
	content, err := shellAssets.ReadFile("assets/" + name)
	if err != nil {
		return err
	}
	header := c.w.Header()
	header.Set("Content-Security-Policy", shellPolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer")
	c.write(http.StatusOK, contentType, content)
	return nil
}

// shellSocket is the websocket of that page.
func (s *server) shellSocket(c *call) error {
	v, err := s.shellVisit(c)
	if err != nil {
		return err
	}
	return s.serveShell(c, v)
}

// jobShell is the same for programs, which have an API key.
func (s *server) jobShell(c *call, caller berth.Caller, _ params) error {
	number, err := c.jobNumber()
	if err != nil {
		return err
	}
	return s.serveShell(c, &visit{number: number, visitor: control.Visitor{Caller: caller}})
}

// serveShell opens a shell and carries what is typed and shown over a websocket: bytes as binary messages, and as text {"columns","rows"}
// from the user and {"exit"} at the end. Pages of other hosts than this one are refused.
func (s *server) serveShell(c *call, v *visit) error {
	if c.r.Header.Get("Upgrade") == "" {
		return &berth.Error{Kind: berth.Invalid, Msg: c.route.texts.unreadable, Detail: "this is a websocket"}
	}
	if err := s.lingerIn(c, v.number); err != nil {
		return err
	}
	terminal, err := s.control.OpenShell(c.r.Context(), v.visitor, v.number, sizeOf(c.r))
	if err != nil {
		return err
	}
	defer func() { _ = terminal.Close() }()
	_, host, _ := strings.Cut(v.origin, "://") // a proxy may have changed that of the request
	socket, err := websocket.Accept(c.w, c.r, &websocket.AcceptOptions{OriginPatterns: []string{host}})
	if err != nil {
		return nil // it has answered
	}
	c.w.status = http.StatusSwitchingProtocols
	defer func() { _ = socket.CloseNow() }()
	socket.SetReadLimit(maxTyped)
	ctx, stop := s.whileAllowed(c.r.Context(), v)
	defer stop()
	go func() {
		_ = typed(ctx, socket, terminal)
		_ = terminal.Close() // ends show
	}()
	return show(ctx, socket, terminal)
}

// whileAllowed returns a context that also ends when who came with an API key may not go on. Call stop when done. The secrets of a job
// hold as long as the job.
func (s *server) whileAllowed(ctx context.Context, v *visit) (allowed context.Context, stop func()) {
	allowed, cancel := context.WithCancel(ctx)
	if v.visitor.Caller.User.Name == "" {
		return allowed, cancel
	}
	var waiting sync.WaitGroup
	waiting.Go(func() {
		s.control.UntilRevoked(allowed, v.visitor.Caller, v.number)
		cancel()
	})
	return allowed, func() {
		cancel()
		waiting.Wait()
	}
}

// sizeOf reads the size that the user has at first.
func sizeOf(r *http.Request) agentapi.TerminalSize {
	query := r.URL.Query()
	columns, err := strconv.ParseUint(query.Get("columns"), 10, 16)
	rows, err2 := strconv.ParseUint(query.Get("rows"), 10, 16)
	if errors.Join(err, err2) != nil || columns == 0 || rows == 0 {
		return defaultSize
	}
	return agentapi.TerminalSize{Columns: uint16(columns), Rows: uint16(rows)}
}

// typed hands on what the user says, until the user goes or says nonsense. What the terminal does not take is dropped: it has ended then,
// and how, the user has yet to be shown.
func typed(ctx context.Context, socket *websocket.Conn, terminal *agentapi.Terminal) error {
	for {
		kind, data, err := socket.Read(ctx)
		if err != nil {
			return err
		}
		if kind == websocket.MessageText {
			var size agentapi.TerminalSize
			if err := json.Unmarshal(data, &size); err != nil {
				return err
			}
			_ = terminal.Write(agentapi.Frame{Size: &size})
			continue
		}
		for len(data) > 0 {
			n := min(len(data), agentapi.MaxFrame)
			_ = terminal.Write(agentapi.Frame{Data: data[:n]})
			data = data[n:]
		}
	}
}

// show hands on what the terminal shows, until it ends. Nobody is left then to hear of errors.
func show(ctx context.Context, socket *websocket.Conn, terminal *agentapi.Terminal) error {
	for {
		frame, err := terminal.Read()
		if err != nil {
			return nil //nolint:nilerr // the user or the job is gone
		}
		kind, data := websocket.MessageBinary, frame.Data
		if frame.End != nil {
			kind, data = websocket.MessageText, []byte(`{"exit":`+strconv.Itoa(*frame.End)+`}`)
		}
		if err := send(ctx, socket, kind, data); err != nil {
			return nil //nolint:nilerr // see above
		}
		if frame.End != nil {
			_ = socket.Close(websocket.StatusNormalClosure, "")
			return nil
		}
	}
}

// send gives up on a user who accepts nothing.
func send(ctx context.Context, socket *websocket.Conn, kind websocket.MessageType, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, stallLimit)
	defer cancel()
	return socket.Write(ctx, kind, data)
}

package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/control"
)

// browserWithin is far above what a test takes with Chromium; it only ends one that would hang.
const browserWithin = 5 * time.Minute

// eventually waits until a script is true, or has a value.
func eventually[T any](script string) chromedp.Action[T] {
	return chromedp.Poll[T](script, chromedp.WithPollingTimeout(browserWithin))
}

// browser starts a headless Chromium.
func browser(t *testing.T) context.Context {
	t.Helper()
	// Its own folder of data goes when all of its processes have: a folder of the test could be removed while one still writes.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox)
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	tab, closeTab := chromedp.NewContext(allocator)
	t.Cleanup(closeTab)
	ctx, cancel := context.WithTimeout(tab, browserWithin)
	t.Cleanup(cancel)
	return ctx
}

// TestShellInABrowser opens the page by its token, pastes and types, and sees what the terminal shows.
func TestShellInABrowser(t *testing.T) {
	a := newTestAPI(t)
	a.page = control.WebPage{Session: "jobsession"}
	ctx := browser(t)
	typed, served := make(chan string, 1), make(chan error, 1)
	go func() { served <- serveShell(<-a.shells, typed) }()
	err := chromedp.Do(ctx,
		chromedp.Navigate("http://"+a.host("8-shell")+"/?berth_token=jobtoken"),
		eventually[chromedp.Void](`document.querySelector(".xterm-rows")?.textContent.includes("ready")`),
		// Pasted, because chromedp sends two events for a letter that a keyboard sends one for.
		chromedp.Evaluate[chromedp.Void](`terminal.paste("echo hi")`),
		chromedp.SendKeys(".xterm-helper-textarea", "\r"),
		eventually[chromedp.Void](`document.querySelector(".xterm-rows").textContent.includes("[ended with 4]")`),
	)
	if err != nil {
		t.Fatal(err)
	}
	if got := <-typed; got != "echo hi\r" {
		t.Errorf("typed %q", got)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
	if a.terminalSize.Columns < 10 || a.terminalSize.Rows < 5 || a.terminalSize == defaultSize {
		t.Errorf("the page did not fit the terminal: %v", a.terminalSize)
	}
}

// serveShell plays a shell that ends with 4 after a line.
func serveShell(shell *agentapi.Terminal, typed chan<- string) error {
	if err := shell.Write(agentapi.Frame{Data: []byte("ready$ ")}); err != nil {
		return err
	}
	var line strings.Builder
	for !strings.HasSuffix(line.String(), "\r") {
		frame, err := shell.Read()
		if err != nil {
			return err
		}
		line.Write(frame.Data)
	}
	typed <- line.String()
	code := 4
	return shell.Write(agentapi.Frame{End: &code})
}

// TestJobsPageInABrowser uses a web service as Jupyter is one: a page with a script, which asks its server, all with the cookie that the
// first visit got and no script sees. A page at another port of the job can do nothing with it.
func TestJobsPageInABrowser(t *testing.T) {
	pages := http.NewServeMux()
	pages.HandleFunc("/lab", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, `<p id="said"></p><script src="static/lab.js"></script>`)
	})
	pages.HandleFunc("/static/lab.js", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		fmt.Fprint(w, `fetch("api/x", {method: "POST", body: "sum"}).then(r => r.text()).then(text => {
			document.getElementById("said").textContent = text + " " + document.cookie; });`)
	})
	var asked atomic.Int64
	pages.HandleFunc("POST /api/x", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		fmt.Fprintf(w, "cookies %q", r.Header.Get("Cookie"))
	})
	srv := httptest.NewServer(pages)
	defer srv.Close()
	a := newTestAPI(t)
	a.page = control.WebPage{Address: netip.MustParseAddrPort(srv.Listener.Addr().String()), Session: "jobsession"}
	ctx := browser(t)
	if err := chromedp.Do(ctx, chromedp.Navigate("http://"+a.host("8-8888")+"/lab?berth_token=jobtoken")); err != nil {
		t.Fatal(err)
	}
	said, err := chromedp.Run(ctx, eventually[string](`document.getElementById("said").textContent`))
	if err != nil || said != `cookies "" ` {
		t.Errorf("the page says %q, %v", said, err)
	}
	address, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href`))
	if err != nil || address != "http://"+a.host("8-8888")+"/lab" {
		t.Errorf("the address bar shows %s, %v", address, err)
	}
	before := asked.Load()
	if err := chromedp.Do(ctx, chromedp.Navigate("http://"+a.host("8-8080")+"/elsewhere?berth_token=jobtoken")); err != nil {
		t.Fatal(err)
	}
	steal := `fetch("http://` + a.host("8-8888") + `/api/x", {method: "POST", mode: "no-cors", credentials: "include"}).then(() => "sent")`
	if _, err := chromedp.Run(ctx, chromedp.Evaluate[string](steal, chromedp.EvalAwaitPromise)); err != nil {
		t.Fatal(err)
	}
	if asked.Load() != before {
		t.Error("a page of another origin uses the service")
	}
}

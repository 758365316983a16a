package e2e

import (
	"context"
	"fmt"

	"github.com/chromedp/chromedp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/berth-hpc/berth/internal/berthdtest"
)

// browserCmd: browser ADDRESS TEXT LINE TEXT opens the page of a terminal in Chromium, types a line when it shows the first text, waits for
// the second one, and prints the address.
func browserCmd(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 4 || neg {
		ts.Fatalf("usage: browser ADDRESS TEXT LINE TEXT")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.NoSandbox)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	defer stop()
	tab, closeTab := chromedp.NewContext(allocator)
	defer closeTab()
	const within = 5 * berthdtest.ReadyWithin
	ctx, cancel := context.WithTimeout(tab, within)
	defer cancel()
	shows := func(text string) chromedp.Action[chromedp.Void] {
		script := fmt.Sprintf(`document.querySelector(".xterm-rows")?.textContent.includes(%q)`, text)
		return chromedp.Poll[chromedp.Void](script, chromedp.WithPollingTimeout(within))
	}
	ts.Check(chromedp.Do(ctx,
		chromedp.Navigate(args[0]),
		shows(args[1]),
		// Pasted, because chromedp sends two events for a letter that a keyboard sends one for.
		chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`terminal.paste(%q)`, args[2])),
		chromedp.SendKeys(".xterm-helper-textarea", "\r"),
		shows(args[3]),
	))
	address, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.href`))
	ts.Check(err)
	fmt.Fprintln(ts.Stdout(), address)
}

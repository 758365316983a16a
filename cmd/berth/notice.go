package main

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// noticeInterval is the time between two lines about the same thing where no terminal can rewrite a line.
const noticeInterval = 5 * time.Second

// notice shows on stderr how something long goes on: on a terminal in one line that is rewritten, elsewhere in a line now and
// then. It is safe for concurrent use. Close it to leave the terminal in order.
type notice struct {
	w        io.Writer
	terminal bool
	quiet    bool
	now      func() time.Time

	mu      sync.Mutex
	shown   string // what stands in the terminal's line
	about   string
	printed time.Time
}

func (a *app) newNotice() *notice {
	return &notice{w: a.stderr, terminal: a.terminal, quiet: a.flags.quiet, now: a.now}
}

// update shows how it goes on. Where lines cannot be rewritten, one about something else comes at once, others at intervals.
func (n *notice) update(about, sentence string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	sentence = clean(sentence)
	switch {
	case n.quiet || sentence == n.shown:
		return
	case n.terminal:
		fmt.Fprintf(n.w, "\r\x1b[K%s", sentence)
	case about == n.about && n.now().Sub(n.printed) < noticeInterval:
		return
	default:
		fmt.Fprintln(n.w, sentence)
		n.printed = n.now()
	}
	n.shown, n.about = sentence, about
}

// line prints a whole line that stays.
func (n *notice) line(sentence string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clear()
	if !n.quiet {
		fmt.Fprintln(n.w, clean(sentence))
	}
}

// close removes the line that is rewritten. It is safe to call twice, and the notice can be used again.
func (n *notice) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.clear()
}

func (n *notice) clear() {
	if n.terminal && n.shown != "" {
		fmt.Fprint(n.w, "\r\x1b[K")
	}
	n.shown, n.about = "", ""
}

// before returns a writer that removes the line before it writes to w, because both are often the same terminal.
func (n *notice) before(w io.Writer) io.Writer { return &afterNotice{notice: n, w: w} }

type afterNotice struct {
	notice *notice
	w      io.Writer
}

func (w *afterNotice) Write(p []byte) (int, error) {
	w.notice.close()
	return w.w.Write(p)
}

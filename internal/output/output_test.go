package output

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func newFiles(t *testing.T) *Files {
	t.Helper()
	return New(t.TempDir(), slog.New(slog.DiscardHandler))
}

func write(t *testing.T, f *Files, number int64, text string) {
	t.Helper()
	if err := os.MkdirAll(f.Dir(number), 0o700); err != nil {
		t.Fatal(err)
	}
	file, err := os.OpenFile(f.path(number), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestDir(t *testing.T) {
	f := New("/data/jobs", nil)
	for number, want := range map[int64]string{1: "0/1", 999: "0/999", 1000: "1/1000", 1234567: "1234/1234567"} {
		if got := f.Dir(number); got != filepath.Join("/data/jobs", want) {
			t.Errorf("Dir(%d) = %s, want …/%s", number, got, want)
		}
	}
}

func TestTail(t *testing.T) {
	long := strings.Repeat("0123456789abcdef\n", 10_000)
	tests := map[string]struct {
		text  string
		lines int
		want  string
	}{
		"all":                       {"a\nb\nc\n", 0, "a\nb\nc\n"},
		"last two":                  {"a\nb\nc\n", 2, "b\nc\n"},
		"more than there are":       {"a\nb\n", 5, "a\nb\n"},
		"last line without its end": {"a\nb\nc", 2, "b\nc"},
		"empty lines count":         {"a\n\n\n", 2, "\n\n"},
		"only line ends":            {"\n\n\n", 1, "\n"},
		"empty":                     {"", 3, ""},
		"over many blocks":          {"first\n" + long, 9_000, long[:9_000*17]},
		"one line over many blocks": {"a\n" + strings.Repeat("x", 100_000), 1, strings.Repeat("x", 100_000)},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := newFiles(t)
			write(t, f, 7, test.text)
			got, err := readAll(f.Tail(7, test.lines))
			if err != nil || got != test.want {
				t.Errorf("Tail = %d bytes, %v; want %d bytes", len(got), err, len(test.want))
			}
		})
	}
}

// readAll reads and closes what was opened.
func readAll(r io.ReadCloser, err error) (string, error) {
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(r)
	return string(text), errors.Join(err, r.Close())
}

func TestTailOfAJobThatWroteNothing(t *testing.T) {
	if got, err := readAll(newFiles(t).Tail(1, 0)); err != nil || got != "" {
		t.Errorf("Tail = %q, %v; want nothing", got, err)
	}
}

// TestTailDoesNotGrow: what is written after it was asked for does not belong to it, and none of it is held in memory.
func TestTailDoesNotGrow(t *testing.T) {
	f := newFiles(t)
	const size = 64 << 20
	write(t, f, 1, strings.Repeat("x", 1000))
	if err := os.Truncate(f.path(1), size); err != nil { // the rest is a hole
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := f.Tail(1, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	write(t, f, 1, "later\n")
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, 32<<10))
	if n != size || err != nil {
		t.Errorf("read %d bytes, %v; want the %d that were there", n, err, size)
	}
	if runtime.ReadMemStats(&after); after.TotalAlloc-before.TotalAlloc > size/8 {
		t.Errorf("reading it allocated %d bytes", after.TotalAlloc-before.TotalAlloc)
	}
}

func TestOpenReadsFromTheOffset(t *testing.T) {
	f := newFiles(t)
	write(t, f, 1, "0123456789")
	for offset, want := range map[int64]string{0: "0123456789", 4: "456789", 10: "", 99: ""} {
		r, err := f.Open(t.Context(), 1, offset, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != want {
			t.Errorf("from %d: %q, %v; want %q", offset, got, err, want)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestFollow writes while many followers read: each must get every byte once, and end after done.
func TestFollow(t *testing.T) {
	for name, notified := range map[string]bool{"woken by the kernel": true, "by the slow tick": false} {
		t.Run(name, func(t *testing.T) { follow(t, notified) })
	}
}

func follow(t *testing.T, notified bool) {
	f := newFiles(t)
	write(t, f, 1, "start\n")
	if notified {
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- f.Run(ctx) }()
		defer func() {
			cancel()
			if err := <-ran; err != nil {
				t.Error(err)
			}
		}()
	}
	done := make(chan struct{})
	results := make(chan string, 10)
	for range cap(results) {
		r, err := f.Open(t.Context(), 1, 0, done)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			got, err := io.ReadAll(r)
			if err != nil {
				got = fmt.Append(nil, err)
			}
			_ = r.Close()
			results <- string(got)
		}()
	}
	var want strings.Builder
	want.WriteString("start\n")
	for i := range 200 {
		line := fmt.Sprintln("line", i)
		write(t, f, 1, line)
		want.WriteString(line)
	}
	close(done)
	for range cap(results) {
		if got := <-results; got != want.String() {
			t.Fatalf("follower got %d bytes, want %d", len(got), want.Len())
		}
	}
	if len(f.watchers) != 0 {
		t.Errorf("%d files are still watched", len(f.watchers))
	}
}

// TestFollowFromBeforeTheFile: the reader waits for the file, or for the end.
func TestFollowFromBeforeTheFile(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{"it comes": {"0123456789", "456789"}, "it never comes": {}} {
		t.Run(name, func(t *testing.T) {
			f := newFiles(t)
			done := make(chan struct{})
			r, err := f.Open(t.Context(), 1, 4, done)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			got := make(chan string, 1)
			go func() {
				first := make([]byte, 1)
				n, _ := io.ReadFull(r, first)
				got <- string(first[:n])
				rest, err := io.ReadAll(r)
				if err != nil {
					t.Error(err)
				}
				got <- string(rest)
			}()
			if test.text != "" {
				write(t, f, 1, test.text)
				if first := <-got; first != test.want[:1] {
					t.Errorf("first byte %q", first)
				}
				test.want = test.want[1:]
				close(done)
			} else {
				close(done)
				<-got
			}
			if rest := <-got; rest != test.want {
				t.Errorf("then %q, want %q", rest, test.want)
			}
		})
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	f := newFiles(t)
	write(t, f, 1, "x")
	ctx, cancel := context.WithCancelCause(t.Context())
	r, err := f.Open(ctx, 1, 1, make(chan struct{}))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	why := errors.New("the client went away")
	cancel(why)
	if _, err := io.ReadAll(r); !errors.Is(err, why) {
		t.Errorf("Read = %v, want the cause", err)
	}
}

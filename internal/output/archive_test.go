package output

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// compressed writes and compresses an output.
func compressed(t *testing.T, f *Files, number int64, text string) {
	t.Helper()
	write(t, f, number, text)
	for range 2 { // again after a crash
		size, err := f.Compress(number)
		info, errStat := os.Stat(f.path(number) + archiveSuffix)
		if err != nil || errStat != nil || size != info.Size() {
			t.Fatalf("Compress = %d, %v; %v", size, err, errStat)
		}
	}
	if _, err := os.Stat(f.path(number)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the output as it was is still there: %v", err)
	}
}

// TestCompressedOutputsReadTheSame compares every way to read an output before and after it was compressed.
func TestCompressedOutputsReadTheSame(t *testing.T) {
	var long strings.Builder
	for i := range 300_000 {
		fmt.Fprintf(&long, "line %d of a long output\n", i)
	}
	exact := strings.Repeat("x", 2*frameSize)
	for name, text := range map[string]string{"empty": "", "short": "a\nb\nc", "long": long.String(), "whole frames": exact} {
		t.Run(name, func(t *testing.T) {
			f := newFiles(t)
			write(t, f, 1, text)
			compressed(t, f, 2, text)
			size := int64(len(text))
			for _, lines := range []int{0, 1, 2, 100, 200_000} {
				if plain, packed := tail(t, f, 1, lines), tail(t, f, 2, lines); plain != packed {
					t.Errorf("last %d lines: %d and %d bytes", lines, len(plain), len(packed))
				}
			}
			offsets := []int64{0, 1, frameSize - 1, frameSize, frameSize + 1, size - 1, size, size + 1, rand.Int64N(size + 1)}
			for _, offset := range offsets {
				if offset < 0 {
					continue
				}
				if plain, packed := from(t, f, 1, offset), from(t, f, 2, offset); plain != packed {
					t.Errorf("from %d on: %d and %d bytes", offset, len(plain), len(packed))
				}
			}
		})
	}
}

func tail(t *testing.T, f *Files, number int64, lines int) string {
	t.Helper()
	r, err := f.Tail(number, lines)
	return drained(t, r, err)
}

func from(t *testing.T, f *Files, number, offset int64) string {
	t.Helper()
	r, err := f.Open(t.Context(), number, offset, nil)
	return drained(t, r, err)
}

func drained(t *testing.T, r io.ReadCloser, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestOthersReadArchives: what is left of a server is read without it.
func TestOthersReadArchives(t *testing.T) {
	f := newFiles(t)
	text := strings.Repeat("0123456789\n", frameSize/8)
	compressed(t, f, 1, text)
	file, err := os.Open(f.path(1) + archiveSuffix)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	decoder, err := zstd.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	defer decoder.Close()
	if got, err := io.ReadAll(decoder); err != nil || string(got) != text {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if path, err := exec.LookPath("zstd"); err == nil {
		out, err := exec.CommandContext(t.Context(), path, "-dc", file.Name()).Output()
		if err != nil || string(out) != text {
			t.Errorf("zstd: %d bytes, %v", len(out), err)
		}
	}
}

// TestWhoReadsGoesOn: an output that is compressed while somebody reads or awaits it is read to its end.
func TestWhoReadsGoesOn(t *testing.T) {
	f := newFiles(t)
	done := make(chan struct{})
	awaiting, err := f.Open(t.Context(), 1, 2, done)
	if err != nil {
		t.Fatal(err)
	}
	write(t, f, 1, "0123456789")
	reading, err := f.Open(t.Context(), 1, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	following, err := f.Open(t.Context(), 1, 0, done)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Compress(1); err != nil {
		t.Fatal(err)
	}
	close(done)
	for want, r := range map[string]io.ReadCloser{"23456789": awaiting, "0123456789": reading} {
		if got := drained(t, r, nil); got != want {
			t.Errorf("read %q, want %q", got, want)
		}
	}
	if got := drained(t, following, nil); got != "0123456789" {
		t.Errorf("followed %q", got)
	}
}

func TestDamagedArchives(t *testing.T) {
	f := newFiles(t)
	compressed(t, f, 1, strings.Repeat("text\n", 1000))
	path := f.path(1) + archiveSuffix
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	flipped := []byte(string(whole))
	flipped[len(flipped)-12] ^= 1 // a size in the table
	for name, text := range map[string][]byte{"empty": nil, "cut": whole[:len(whole)-1], "begun": whole[:20], "table": flipped, "zeros": make([]byte, 100)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := f.Tail(1, 0)
		if err == nil {
			_, err = io.ReadAll(r)
			_ = r.Close()
		}
		if !errors.Is(err, errDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNoOutputIsCompressedAndDeleted(t *testing.T) {
	f := newFiles(t)
	if size, err := f.Compress(1); size != 0 || err != nil {
		t.Errorf("Compress = %d, %v", size, err)
	}
	compressed(t, f, 2, "text")
	for range 2 {
		if err := f.Delete(2); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(f.Dir(2)); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if got := tail(t, f, 2, 0); got != "" {
		t.Errorf("read %q", got)
	}
}

// TestDeletingAnOutputLeavesTheRest: the directory of a job can also tell of data that is kept, which is lost without it.
func TestDeletingAnOutputLeavesTheRest(t *testing.T) {
	f := newFiles(t)
	compressed(t, f, 1, "text")
	other := filepath.Join(f.Dir(1), "staging.json")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.Delete(1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(other); err != nil {
		t.Error(err)
	}
	if got := tail(t, f, 1, 0); got != "" {
		t.Errorf("read %q", got)
	}
}

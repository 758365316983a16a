package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/berth-hpc/berth/internal/volume"
)

// place is a directory whose files are measured.
type place struct {
	name string
	spec volume.Spec
	dir  string
	// best is the shortest time of each operation.
	best map[string]time.Duration
}

// volumeRounds is how often each operation is measured. The best counts: what the machine does besides only makes it slower.
const volumeRounds = 3

// volumes compares a plain directory of the disk with block vaults on the same disk: one large file, and many small ones.
func (b *bench) volumes(ctx context.Context) (err error) {
	large, small := int64(b.pick(1<<30, 16<<20)), b.pick(2000, 100)
	size := 2*large + 2*volume.MinImage
	v := &volume.Volumes{Dir: filepath.Join(b.dir, "volumes"), Log: slog.New(slog.DiscardHandler)}
	places := []*place{
		{name: "plain directory", dir: filepath.Join(b.dir, "plain")},
		{name: "block vault", spec: volume.Spec{Size: size, Images: 1}},
		{name: "array of 2", spec: volume.Spec{Size: size, Images: 2}},
		{name: "encrypted block vault", spec: volume.Spec{Size: size, Images: 1, Password: "a password for the bench"}},
	}
	defer func() { err = errors.Join(err, detachAll(ctx, v)) }()
	for _, p := range places {
		if err := p.prepare(ctx, v); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	operations := map[string]func(string) error{
		"write": func(dir string) error { return writeFile(filepath.Join(dir, "large"), large) },
		"read":  func(dir string) error { return readFiles(filepath.Join(dir, "large")) },
		"make":  func(dir string) error { return makeSmall(dir, small) },
		"open":  func(dir string) error { return readFiles(smallFiles(dir, small)...) },
	}
	for range volumeRounds {
		for _, name := range []string{"write", "read", "make", "open"} {
			for _, p := range places {
				if err := p.measure(name, operations[name]); err != nil {
					return fmt.Errorf("%s, %s: %w", p.name, name, err)
				}
			}
		}
		for _, p := range places {
			if err := os.RemoveAll(filepath.Join(p.dir, "small")); err != nil {
				return err
			}
		}
	}
	b.printf("| place | write %d MiB | read | write %d files | read |\n|---|---|---|---|---|\n", large>>20, small)
	for _, p := range places {
		speed := func(name string) string {
			return fmt.Sprintf("%.0f MiB/s (%.2f)", float64(large>>20)/p.best[name].Seconds(), p.ratio(places[0], name))
		}
		many := func(name string) string {
			return fmt.Sprintf("%.0f/s (%.2f)", rate(small, p.best[name]), p.ratio(places[0], name))
		}
		b.printf("| %s | %s | %s | %s | %s |\n", p.name, speed("write"), speed("read"), many("make"), many("open"))
	}
	return nil
}

// prepare makes the directory.
func (p *place) prepare(ctx context.Context, v *volume.Volumes) error {
	p.best = map[string]time.Duration{}
	if p.dir != "" {
		return os.MkdirAll(p.dir, 0o750)
	}
	path, err := v.Create(ctx, p.spec)
	if err != nil {
		return err
	}
	p.dir, err = v.Attach(ctx, volume.Request{Path: path, Attempt: filepath.Base(path), Password: p.spec.Password})
	return err
}

// ratio is the speed against that of another place.
func (p *place) ratio(other *place, name string) float64 {
	return other.best[name].Seconds() / p.best[name].Seconds()
}

// measure does an operation with nothing in the caches.
func (p *place) measure(name string, do func(string) error) error {
	syscall.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		return err
	}
	began := time.Now()
	if err := do(p.dir); err != nil {
		return err
	}
	if took := time.Since(began); p.best[name] == 0 || took < p.best[name] {
		p.best[name] = took
	}
	return nil
}

// detachAll leaves nothing mounted.
func detachAll(ctx context.Context, v *volume.Volumes) error {
	ctx = context.WithoutCancel(ctx)
	attempts, err := v.Attempts()
	for _, attempt := range attempts {
		err = errors.Join(err, v.Detach(ctx, attempt))
	}
	return err
}

// writeFile writes a file until it is on the disk, over the one of the round before: the disk has its blocks then, as it has those of images.
func writeFile(path string, size int64) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	block := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(block) // never fails
	for written := int64(0); written < size && err == nil; written += int64(len(block)) {
		_, err = file.Write(block)
	}
	return errors.Join(err, file.Sync(), file.Close())
}

// makeSmall makes many files of 4 KiB in some directories, until they are on the disk.
func makeSmall(dir string, n int) error {
	content := make([]byte, 4<<10)
	for _, path := range smallFiles(dir, n) {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	syscall.Sync()
	return nil
}

func smallFiles(dir string, n int) []string {
	paths := make([]string, n)
	for i := range paths {
		paths[i] = filepath.Join(dir, "small", strconv.Itoa(i%10), strconv.Itoa(i))
	}
	return paths
}

func readFiles(paths ...string) error {
	block := make([]byte, 1<<20)
	for _, path := range paths {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{file}, block)
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	return nil
}

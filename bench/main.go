// Bench measures berth beside its peers and floors in one run on one machine, and prints figures with their ratios. It needs root,
// containerd, runc and busybox-static, like the tests, and nginx; make bench runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/berth-hpc/berth/internal/berthdtest"
)

// bench is one run of the benchmarks.
type bench struct {
	// dir holds everything of the run; bin the binaries, root the module.
	dir, bin, root string
	out            io.Writer
	// picture is the file that the scheduler's week is drawn into; empty is none.
	picture string
	// short takes smaller numbers, to see that everything works.
	short bool
}

// part is one group of measurements.
type part struct {
	name string
	run  func(*bench, context.Context) error
}

var parts = []part{
	{"submissions", (*bench).submissions},
	{"start", (*bench).starts},
	{"nodes", (*bench).nodes},
	{"pingpong", (*bench).pingpong},
	{"status", (*bench).status},
	{"memory", (*bench).memory},
	{"agents", (*bench).agents},
	{"streams", (*bench).streams},
	{"apps", (*bench).apps},
	{"pages", (*bench).pages},
	{"staging", (*bench).staging},
	{"scheduler", (*bench).scheduler},
	{"transfer", (*bench).transfer},
	{"volumes", (*bench).volumes},
}

func main() {
	only := flag.String("only", "", "comma-separated parts to run: submissions, start, nodes, pingpong, status, memory, agents, streams, apps, pages, scheduler, transfer, staging, volumes; all when empty")
	picture := flag.String("picture", "", "SVG file to draw the scheduler's simulated week into")
	short := flag.Bool("short", false, "small numbers, to see that everything works")
	root := flag.String("root", ".", "root of the module")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *root, *only, *picture, *short); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, root, only, picture string, short bool) (err error) {
	dir, err := os.MkdirTemp("", "berth-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	root, err = filepath.Abs(root)
	if err != nil {
		return err
	}
	b := &bench{dir: dir, bin: filepath.Join(dir, "bin"), root: root, out: os.Stdout, picture: picture, short: short}
	if err := berthdtest.Build(ctx, root, b.bin+"/", "berthd"); err != nil {
		return err
	}
	b.printf("# berth benchmarks, %s, %d cores, %s\n", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), runtime.Version())
	for _, p := range parts {
		if only != "" && !slices.Contains(strings.Split(only, ","), p.name) {
			continue
		}
		b.printf("\n## %s\n\n", p.name)
		if err := p.run(b, ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

func (b *bench) printf(format string, args ...any) { _, _ = fmt.Fprintf(b.out, format, args...) }

// pick returns the full number, or the small one in a short run.
func (b *bench) pick(full, small int) int {
	if b.short {
		return small
	}
	return full
}

// server returns a berthd with a data directory of its own, not started.
func (b *bench) server(name string, flags ...string) *berthdtest.Server {
	return &berthdtest.Server{Bin: b.bin, Data: filepath.Join(b.dir, name), Flags: flags}
}

// latencies are the durations of many operations.
type latencies []time.Duration

func (l latencies) percentile(p float64) time.Duration {
	if len(l) == 0 {
		return 0
	}
	slices.Sort(l)
	return l[min(len(l)-1, int(float64(len(l))*p/100))]
}

func (l latencies) String() string {
	return fmt.Sprintf("median %v, p99 %v", l.percentile(50).Round(10*time.Microsecond), l.percentile(99).Round(10*time.Microsecond))
}

// rate is how many operations a second were done.
func rate(n int, took time.Duration) float64 { return float64(n) / took.Seconds() }

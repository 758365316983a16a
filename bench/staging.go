package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sync/errgroup"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/s3test"
	"github.com/berth-hpc/berth/internal/staging"
)

// stagingBucket is where all objects of the measurements are.
const stagingBucket = "bench"

// objectSet is many objects of one size.
type objectSet struct {
	name  string
	count int
	size  int
}

// staged is one set with what moves it.
type staged struct {
	set    objectSet
	url    string
	client *minio.Client
	dir    string
	heap   uint64
}

// staging moves objects to a directory and back, beside the S3 library alone with as many at a time. Both take turns with the same server.
func (b *bench) staging(ctx context.Context) (err error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil { // the server takes it at once
		return err
	}
	server, err := s3test.New(ctx, b.root, address)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	client, err := minio.New(address, &minio.Options{
		Creds: credentials.NewStaticV4(s3test.AccessKey, s3test.SecretKey, ""), Region: "us-east-1", BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		return err
	}
	if err := client.MakeBucket(ctx, stagingBucket, minio.MakeBucketOptions{}); err != nil {
		return err
	}
	b.printf("| objects | way | library alone | berth | against the library | heap at most |\n|---|---|---|---|---|---|\n")
	for _, set := range []objectSet{
		{"large", 1, b.pick(1<<30, 64<<20)}, {"middling", b.pick(1000, 20), 1 << 20}, {"small", b.pick(10_000, 100), 10 << 10},
	} {
		s := &staged{set: set, url: "http://" + address, client: client, dir: filepath.Join(b.dir, "staging-"+set.name)}
		if err := b.stagingSet(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", set.name, err)
		}
	}
	return nil
}

// stagingRounds is how often each way is measured. The best counts: what the machine does besides only makes it slower.
const stagingRounds = 2

func (b *bench) stagingSet(ctx context.Context, s *staged) (err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	if err := s.fill(); err != nil {
		return err
	}
	for _, way := range []struct {
		name        string
		alone, ours func(context.Context, string) error
	}{
		{"out", s.putAlone, s.putOurs}, {"in", s.getAlone, s.getOurs},
	} {
		best := map[string]time.Duration{}
		s.heap = 0
		for range stagingRounds {
			for name, run := range map[string]func(context.Context, string) error{"alone": way.alone, "ours": way.ours} {
				took, err := s.measure(ctx, name, run)
				if err != nil {
					return fmt.Errorf("%s, %s: %w", way.name, name, err)
				}
				if best[name] == 0 || took < best[name] {
					best[name] = took
				}
			}
		}
		const megabyte = 1 << 20
		speed := func(took time.Duration) float64 {
			return float64(s.set.count*s.set.size) / megabyte / took.Seconds()
		}
		b.printf("| %d × %d KiB | %s | %.0f MiB/s | %.0f MiB/s | %.2f | %d MiB |\n", s.set.count, s.set.size>>10, way.name,
			speed(best["alone"]), speed(best["ours"]), best["alone"].Seconds()/best["ours"].Seconds(), s.heap/megabyte)
	}
	return nil
}

func (s *staged) source() string { return filepath.Join(s.dir, "source") }

func (s *staged) key(i int) string { return fmt.Sprintf("%s/%d/%d", s.set.name, i%10, i) }

// fill makes the files.
func (s *staged) fill() error {
	content := make([]byte, s.set.size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(content) // never fails
	for i := range s.set.count {
		path := filepath.Join(s.source(), s.key(i))
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// measure returns how long a way takes, into an empty directory, and remembers the largest heap of ours.
func (s *staged) measure(ctx context.Context, name string, run func(context.Context, string) error) (time.Duration, error) {
	dir := filepath.Join(s.dir, "to")
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o750)); err != nil {
		return 0, err
	}
	runtime.GC()
	done := make(chan struct{})
	var watching sync.WaitGroup
	if name == "ours" {
		watching.Go(func() { s.watchHeap(done) })
	}
	began := time.Now()
	err := run(ctx, dir)
	took := time.Since(began)
	close(done)
	watching.Wait()
	return took, err
}

func (s *staged) watchHeap(done <-chan struct{}) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
			var memory runtime.MemStats
			runtime.ReadMemStats(&memory)
			s.heap = max(s.heap, memory.HeapInuse)
		}
	}
}

// each does something with every object, as many at a time as berth.
func (s *staged) each(ctx context.Context, do func(context.Context, int) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(staging.DefaultParallel)
	for i := range s.set.count {
		group.Go(func() error { return do(ctx, i) })
	}
	return group.Wait()
}

func (s *staged) getAlone(ctx context.Context, dir string) error {
	return s.each(ctx, func(ctx context.Context, i int) error {
		return s.client.FGetObject(ctx, stagingBucket, s.key(i), filepath.Join(dir, s.key(i)), minio.GetObjectOptions{})
	})
}

func (s *staged) putAlone(ctx context.Context, _ string) error {
	return s.each(ctx, func(ctx context.Context, i int) error {
		_, err := s.client.FPutObject(ctx, stagingBucket, s.key(i), filepath.Join(s.source(), s.key(i)), minio.PutObjectOptions{})
		return err
	})
}

// transfer is one that has nothing behind it.
func (s *staged) transfer(data, manifest string, objects ...string) staging.Transfer {
	return staging.Transfer{
		Bucket:      berth.Bucket{Endpoint: s.url, Name: stagingBucket, Region: "us-east-1", PathStyle: true, Trusted: true},
		Credentials: berth.Credentials{AccessKey: s3test.AccessKey, SecretKey: s3test.SecretKey},
		Objects:     objects, Data: data, Manifest: manifest, Tell: func(string) {},
	}
}

func (s *staged) getOurs(ctx context.Context, dir string) error {
	manifest := filepath.Join(s.dir, "manifest")
	if err := os.RemoveAll(manifest); err != nil {
		return err
	}
	return staging.New(staging.Config{Now: time.Now}).In(ctx, s.transfer(dir, manifest, s.set.name+"/"))
}

func (s *staged) putOurs(ctx context.Context, _ string) error {
	manifest := filepath.Join(s.dir, "manifest")
	if err := os.RemoveAll(manifest); err != nil {
		return err
	}
	stager := staging.New(staging.Config{Now: time.Now})
	if err := stager.In(ctx, s.transfer(s.source(), manifest)); err != nil { // nothing: everything is new
		return err
	}
	missing, err := stager.Out(ctx, s.transfer(s.source(), manifest))
	if missing != "" {
		err = errors.Join(err, errors.New(strings.TrimSpace(missing)))
	}
	return err
}

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// nginxConfig serves a directory as fast as nginx can, and takes files into it.
const nginxConfig = `daemon off;
user root;
worker_processes auto;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
events {}
http {
	access_log off;
	sendfile on;
	client_max_body_size 0;
	client_body_temp_path %[1]s/body;
	server {
		listen %[2]s;
		root %[1]s/files;
		location / { dav_methods PUT; }
	}
}
`

// transfer moves one large file in and out, through the server and through nginx in turn. Uploads are measured twice: as each answers
// them, which nginx does before a byte is on the disk, and until they are there.
func (b *bench) transfer(ctx context.Context) (err error) {
	source, err := b.largeFile()
	if err != nil {
		return err
	}
	s := b.server("transfer", "--network", "none")
	defer func() { err = errors.Join(err, s.Down(ctx)) }()
	if err := s.Start(ctx); err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "nginx")
	peer, stop, err := startNginx(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	query := url.Values{"username": {s.Vars["BERTH_USER"]}, "apikey": {s.Vars["BERTH_APIKEY"]}}.Encode()
	berth, nginx := s.URL+"/v1/vaults/data/files/large?"+query, peer+"/large"
	vaultFile, nginxFile := filepath.Join(s.Data, "vaults", "admin", "data", "large"), filepath.Join(dir, "files", "large")
	upload := func(target string) func() error { return func() error { return put(ctx, target, source) } }
	download := func(target string) func() error { return func() error { return get(ctx, target) } }
	size, err := os.Stat(source)
	if err != nil {
		return err
	}
	b.printf("| %d MB | berthd | nginx | ratio |\n|---|---|---|---|\n", size.Size()>>20)
	for _, m := range []struct {
		name         string
		berth, nginx func() error
	}{
		{"upload, answered", upload(berth), upload(nginx)},
		{"upload, on the disk", synced(upload(berth), vaultFile), synced(upload(nginx), nginxFile)},
		{"download", download(berth), download(nginx)},
	} {
		if err := b.compare(m.name, size.Size(), m.berth, m.nginx); err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

// compare runs both in turn, several times, and prints the medians.
func (b *bench) compare(name string, size int64, own, peer func() error) error {
	var took [2]latencies
	for range b.pick(5, 1) {
		for i, run := range []func() error{own, peer} {
			began := time.Now()
			if err := run(); err != nil {
				return err
			}
			took[i] = append(took[i], time.Since(began))
		}
	}
	speed := func(l latencies) float64 { return float64(size) / (1 << 20) / l.percentile(50).Seconds() }
	b.printf("| %s | %.0f MB/s | %.0f MB/s | %.2f |\n", name, speed(took[0]), speed(took[1]), speed(took[0])/speed(took[1]))
	return nil
}

// largeFile makes a file that is in memory as the kernel keeps files.
func (b *bench) largeFile() (string, error) {
	path := filepath.Join(b.dir, "large")
	file, err := os.Create(path)
	if err != nil {
		return "", err
	}
	_, err = io.CopyN(file, rand.Reader, int64(b.pick(1<<30, 16<<20)))
	return path, errors.Join(err, file.Sync(), file.Close())
}

// startNginx serves a directory until stop is called.
func startNginx(ctx context.Context, dir string) (address string, stop func() error, err error) {
	if err := os.MkdirAll(filepath.Join(dir, "files"), 0o755); err != nil { //nolint:gosec // nginx reads it as another user
		return "", nil, err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	host := listener.Addr().String() // free a moment later, as far as one can know
	if err := listener.Close(); err != nil {
		return "", nil, err
	}
	config := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, nginxConfig, dir, host), 0o600); err != nil {
		return "", nil, err
	}
	nginx := exec.CommandContext(ctx, "nginx", "-c", config)
	nginx.Stderr = os.Stderr
	nginx.Cancel = func() error { return nginx.Process.Signal(syscall.SIGTERM) } // a SIGKILL would leave its workers
	if err := nginx.Start(); err != nil {
		return "", nil, err
	}
	stop = func() error { return errors.Join(nginx.Process.Signal(syscall.SIGTERM), nginx.Wait()) }
	dialer := &net.Dialer{}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		conn, err := dialer.DialContext(ctx, "tcp", host)
		if err == nil {
			return "http://" + host, stop, conn.Close()
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return "", nil, errors.Join(err, stop())
		}
	}
}

func put(ctx context.Context, target, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, target, file)
	if err != nil {
		return err
	}
	req.ContentLength = info.Size()
	return exchange(req)
}

func get(ctx context.Context, target string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	return exchange(req)
}

// exchange sends a request and reads the answer to its end.
func exchange(req *http.Request) error {
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, make([]byte, 1<<20))
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s: %s", req.Method, req.URL.Path, resp.Status)
	}
	return err
}

// synced does something to a file and waits until it is on the disk.
func synced(do func() error, path string) func() error {
	return func() error {
		if err := do(); err != nil {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(file.Sync(), file.Close())
	}
}

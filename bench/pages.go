package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/berth-hpc/berth/client"
	"github.com/berth-hpc/berth/internal/berthdtest"
)

// largePage is the size of the page whose throughput is measured, in bytes.
const largePage = 32 << 20

// serve is a job script with a web server of a small page and a large one.
const serve = "mkdir /tmp/www && echo small >/tmp/www/small && head -c %d /dev/zero >/tmp/www/large && httpd -p 8080 -h /tmp/www && echo serving && sleep 100000"

// pages measures the web page of a job through the server beside a direct connection to its container. They take turns.
func (b *bench) pages(ctx context.Context) (err error) {
	s := b.server("pages", "--cores", "1", "--network", "bridge")
	defer func() { err = errors.Join(err, s.Down(ctx)) }()
	if err := b.startWithImage(ctx, s); err != nil {
		return err
	}
	direct, proxied, err := servePages(ctx, s)
	if err != nil {
		return err
	}
	b.printf("| page | connections | direct | through berth | throughput against direct | median latency against direct |\n|---|---|---|---|---|---|\n")
	for _, page := range []struct {
		name                     string
		connections, n, n2, size int
	}{
		{"small", 1, 4_000, 100, 0}, {"small", 8, 8_000, 100, 0}, {"large", 1, 60, 3, largePage}, {"large", 4, 120, 4, largePage},
	} {
		n := b.pick(page.n, page.n2)
		var rates [2]float64
		var took [2]latencies
		for i, way := range []visitor{direct, proxied} {
			all, whole, err := load(ctx, page.connections, n, func(ctx context.Context, _ int) error { return way.get(ctx, page.name, page.size) })
			if err != nil {
				return err
			}
			took[i], rates[i] = all, rate(n, whole)
		}
		shown := func(i int) string {
			if page.size == 0 {
				return fmt.Sprintf("%.0f/s, %v", rates[i], took[i])
			}
			return fmt.Sprintf("%.0f MB/s, %v", rates[i]*float64(page.size)/1e6, took[i])
		}
		b.printf("| %s | %d | %s | %s | %.2f | %.2f |\n", page.name, page.connections, shown(0), shown(1), rates[1]/rates[0],
			float64(took[1].percentile(50))/float64(took[0].percentile(50)))
	}
	return nil
}

// visitor fetches pages from a place.
type visitor struct {
	http                *http.Client
	address, host, auth string
}

func (v visitor) get(ctx context.Context, page string, size int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.address+"/"+page, nil)
	if err != nil {
		return err
	}
	req.Host = v.host
	if v.auth != "" {
		req.Header.Set("Authorization", v.auth)
	}
	resp, err := v.http.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	n, err := io.Copy(io.Discard, resp.Body)
	if err == nil && (resp.StatusCode != http.StatusOK || n < int64(size)) {
		err = fmt.Errorf("page %s: %s with %d bytes", page, resp.Status, n)
	}
	return err
}

// servePages runs a job with a web server, and returns the two ways to it.
func servePages(ctx context.Context, s *berthdtest.Server) (direct, proxied visitor, err error) {
	c, err := clientOf(s)
	if err != nil {
		return direct, proxied, err
	}
	job, err := c.Batch(ctx, client.Submission{
		Container: &client.Container{Image: image, JobScript: fmt.Sprintf(serve, largePage)}, Machine: &client.MachineRequest{Type: "n0"},
	})
	if err != nil {
		return direct, proxied, err
	}
	ref := client.Number(job.Number)
	output := c.FollowOutput(ctx, ref, 0)
	defer func() { _ = output.Close() }()
	if err := awaitText(output, "serving"); err != nil {
		return direct, proxied, err
	}
	info, err := c.Info(ctx, ref)
	if err != nil {
		return direct, proxied, err
	}
	kept := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}}
	port := s.URL[strings.LastIndex(s.URL, ":"):]
	direct = visitor{http: kept, address: "http://" + info.Address + ":8080"}
	proxied = visitor{
		http: kept, address: s.URL, host: fmt.Sprintf("%d-8080.localhost%s", job.Number, port), auth: "Bearer " + s.Vars["BERTH_APIKEY"],
	}
	return direct, proxied, nil
}

// awaitText reads until a text comes.
func awaitText(output io.Reader, text string) error {
	var seen strings.Builder
	piece := make([]byte, 4<<10)
	for {
		n, err := output.Read(piece)
		seen.Write(piece[:n])
		switch {
		case strings.Contains(seen.String(), text):
			return nil
		case err != nil:
			return fmt.Errorf("waiting for %q: %w: %s", text, err, seen.String())
		}
	}
}

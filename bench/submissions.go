package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/client"
	"github.com/berth-hpc/berth/internal/berthdtest"
	"github.com/berth-hpc/berth/internal/engine/enginetest"
	"github.com/berth-hpc/berth/internal/store"
)

// image is what all jobs of the benchmarks run.
const image = "local/busybox:latest"

// submissions measures durable submissions a second over HTTP, with an empty store and a full one, beside the same insert in this
// process without a server. One job that does not end keeps the rest in the queue.
func (b *bench) submissions(ctx context.Context) (err error) {
	floor, err := b.insertFloor(ctx)
	if err != nil {
		return err
	}
	s := b.server("submissions", "--cores", "1", "--network", "none")
	defer func() { err = errors.Join(err, s.Down(ctx)) }()
	if err := b.startBlocked(ctx, s); err != nil {
		return err
	}
	b.printf("| jobs in the store | connections | submissions/s | latency | of the insert alone |\n|---|---|---|---|---|\n")
	if err := b.submitRounds(ctx, s, "few", floor); err != nil {
		return err
	}
	million := b.pick(1_000_000, 10_000)
	if err := b.fill(ctx, s, million, "completed"); err != nil {
		return err
	}
	return b.submitRounds(ctx, s, strconv.Itoa(million), floor)
}

var connectionCounts = []int{1, 8, 64}

func (b *bench) rounds(connections int) int {
	return b.pick(map[int]int{1: 5_000, 8: 20_000, 64: 40_000}[connections], 500)
}

func (b *bench) submitRounds(ctx context.Context, s *berthdtest.Server, name string, floor map[int]float64) error {
	body := fmt.Appendf(nil, `{"container":{"image":%q,"jobscript":"true"},"machine":{"type":"n0","nodes":1},"vault":{"name":"ephemeral"},`+
		`"job_label":"bench","user":{"username":%q,"apikey":%q}}`, image, s.Vars["BERTH_USER"], s.Vars["BERTH_APIKEY"])
	for _, connections := range connectionCounts {
		c := newCaller(connections)
		n := b.rounds(connections)
		took, all, err := load(ctx, connections, n, func(ctx context.Context, _ int) error {
			_, err := c.post(ctx, s.URL+"/jarvice/batch", body)
			return err
		})
		if err != nil {
			return err
		}
		b.printf("| %s | %d | %.0f | %v | %.2f of %.0f |\n", name, connections, rate(n, all), took, rate(n, all)/floor[connections], floor[connections])
	}
	return nil
}

// insertFloor measures the same durable insert without a server.
func (b *bench) insertFloor(ctx context.Context) (map[int]float64, error) {
	st, err := store.Open(ctx, store.Config{DSN: "sqlite:" + filepath.Join(b.dir, "floor.db"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	defer func() { _ = st.Close() }()
	admin := store.NewUser{
		User: berth.User{Name: "admin", Billing: true}, Key: berth.Key{ID: "k", User: "admin", Created: time.Now()}, KeyHash: "hash",
	}
	if err := st.CreateUser(ctx, admin, berth.Act{Kind: berth.ActUserAdded, At: time.Now(), By: berth.ByServer, Subject: "admin"}); err != nil {
		return nil, err
	}
	floor := make(map[int]float64)
	for _, connections := range connectionCounts {
		n := b.rounds(connections)
		_, took, err := load(ctx, connections, n, func(ctx context.Context, i int) error {
			now := time.Now().UTC()
			_, _, err := st.CreateJob(ctx, store.NewJob{Job: berth.Job{
				Name: fmt.Sprintf("%s-%d-%d_s1", now.Format("20060102150405"), connections, i), Owner: "admin", Payer: "admin", State: berth.StateQueued,
				Wait: berth.WaitResources, Application: berth.BatchApplication, Command: berth.BatchCommand, Image: image, Submitted: now,
				Need: berth.Capacity{Cores: 1, RAM: 1 << 30, Slots: 1},
				Submission: berth.Submission{
					Container: berth.Container{Image: image, JobScript: "true"}, Machine: berth.MachineRequest{Type: "n0", Nodes: 1}, Label: "bench",
				},
			}})
			return err
		})
		if err != nil {
			return nil, err
		}
		floor[connections] = rate(n, took)
	}
	return floor, nil
}

// startBlocked starts a server of one core with the image and a job that takes all of it.
func (b *bench) startBlocked(ctx context.Context, s *berthdtest.Server) error {
	if err := b.startWithImage(ctx, s); err != nil {
		return err
	}
	c, err := clientOf(s)
	if err != nil {
		return err
	}
	_, err = c.Batch(ctx, client.Submission{
		Container: &client.Container{Image: image, JobScript: "sleep 100000"}, Machine: &client.MachineRequest{Type: "n0"},
	})
	return err
}

func (b *bench) startWithImage(ctx context.Context, s *berthdtest.Server) error {
	if err := s.Start(ctx); err != nil {
		return err
	}
	path := filepath.Join(b.dir, "busybox.tar")
	if err := enginetest.WriteBusyboxRootfs(ctx, path); err != nil {
		return err
	}
	rootfs, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = rootfs.Close() }()
	c, err := clientOf(s)
	if err != nil {
		return err
	}
	_, err = c.ImportImage(ctx, rootfs, client.ImageImport{Name: image, Rootfs: true})
	return err
}

func clientOf(s *berthdtest.Server) (*client.Client, error) {
	return client.New(client.Config{URL: s.URL, Username: s.Vars["BERTH_USER"], APIKey: s.Vars["BERTH_APIKEY"]})
}

// fill puts n more jobs of a state into a server's store while the server does not run: copies of its newest job.
func (b *bench) fill(ctx context.Context, s *berthdtest.Server, n int, state string) error {
	if err := s.Stop(); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", filepath.Join(s.Data, "berth.db"))
	if err != nil {
		return err
	}
	err = errors.Join(copyJobs(ctx, db, n, state), db.Close())
	if err != nil {
		return fmt.Errorf("fill the store: %w", err)
	}
	return s.Start(ctx)
}

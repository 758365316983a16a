package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/backup"
	"github.com/berth-hpc/berth/internal/blockfiles"
	"github.com/berth-hpc/berth/internal/config"
	"github.com/berth-hpc/berth/internal/control"
	"github.com/berth-hpc/berth/internal/engine/containerd"
	"github.com/berth-hpc/berth/internal/httpapi"
	"github.com/berth-hpc/berth/internal/image"
	"github.com/berth-hpc/berth/internal/output"
	"github.com/berth-hpc/berth/internal/reconcile"
	"github.com/berth-hpc/berth/internal/retention"
	"github.com/berth-hpc/berth/internal/scheduler"
	"github.com/berth-hpc/berth/internal/seal"
	"github.com/berth-hpc/berth/internal/staging"
	"github.com/berth-hpc/berth/internal/store"
	"github.com/berth-hpc/berth/internal/usage"
	"github.com/berth-hpc/berth/internal/vault"
	"github.com/berth-hpc/berth/internal/volume"
)

const (
	// finish is how long requests may take to finish by themselves when the server stops; then those that follow a job are ended.
	finish = time.Second
	// drain is how long all of them may take.
	drain = 10 * time.Second
)

// server is everything that serve wires together.
type server struct {
	cfg     config.Config
	log     *slog.Logger
	changes *control.Changes
	store   *store.Store
	engine  *containerd.Engine
	outputs *output.Files
	vaults  vault.Directories
	volumes *volume.Volumes
	// blocks has the files of block vaults, and their volumes for who wants to attach one.
	blocks *blockfiles.Files
	sealer *seal.Sealer

	scheduler *scheduler.Scheduler
	reconcile *reconcile.Reconciler
	usage     *usage.Sampler
}

// serve runs the server until ctx ends, then lets requests finish. Running jobs go on.
func serve(ctx context.Context, cfg config.Config, stdout, stderr io.Writer) error {
	level, err := cfg.Level()
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	if os.Geteuid() != 0 {
		return errors.New("containers need root: start berthd as root, for example with sudo")
	}
	unlock, err := lockDirs(cfg)
	if err != nil {
		return err
	}
	defer unlock()
	if err := backup.Clean(cfg.Data); err != nil {
		return err
	}
	s := &server{
		cfg: cfg, log: log, changes: &control.Changes{},
		outputs: output.New(filepath.Join(cfg.Data, "jobs"), log),
		vaults: vault.Directories{
			Files: filepath.Join(cfg.Data, "vaults"), Scratch: filepath.Join(cfg.Data, "scratch"),
		},
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen) // before anything starts or is migrated
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	if err := s.open(ctx); err != nil {
		return errors.Join(err, s.close(), listener.Close())
	}
	return errors.Join(s.run(ctx, listener, stdout), s.close())
}

// lockDirs makes the data directory and the first one of volumes, and keeps a second server out of both.
func lockDirs(cfg config.Config) (unlock func(), err error) {
	unlockData, err := lockData(cfg.Data)
	if err != nil {
		return nil, err
	}
	unlockVolumes, err := lockVolumes(cfg.VolumeDirs[0])
	if err != nil {
		unlockData()
		return nil, err
	}
	return func() {
		unlockVolumes()
		unlockData()
	}, nil
}

// lockData makes the data directory and keeps a second server out of it.
func lockData(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o711); err != nil { //nolint:gosec // users of jobs pass through to nothing but what they may see
		return nil, fmt.Errorf("data directory: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("data directory: %w", err)
	}
	if err := lockFile(lock); err != nil {
		return nil, fmt.Errorf("another berthd serves %s: stop it first, or give another --data", dir)
	}
	return func() { _ = lock.Close() }, nil
}

// lockFile locks a file for as long as it is open, or closes it.
func lockFile(file *os.File) error {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err != nil {
		_ = file.Close()
	}
	return err
}

// open opens the store and the engine and makes the loops, without starting any.
func (s *server) open(ctx context.Context) (err error) {
	if s.store, err = store.Open(ctx, store.Config{DSN: s.dsn(), OnChange: s.changed, Log: s.log}); err != nil {
		return err
	}
	if err := s.openVolumes(ctx); err != nil {
		return err
	}
	if err := s.openEngine(ctx); err != nil {
		return err
	}
	host, err := s.host(ctx)
	if err != nil {
		return err
	}
	s.scheduler = scheduler.New(scheduler.Config{
		Store: s.store, Hosts: fixedHosts{host}, Random: randomAttempt, Now: time.Now, Tick: s.cfg.Tick,
		Assumed: s.cfg.AssumedWalltime, SuspendedFree: s.cfg.SuspendedFree, Log: s.log,
	})
	s.usage = usage.New(usage.Config{Store: s.store, Meter: s.engine, Every: s.cfg.SampleEvery, Log: s.log})
	addresses, err := s.cfg.JobAddresses()
	if err != nil {
		return err
	}
	nameservers, search := resolver("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf")
	s.reconcile = reconcile.New(reconcile.Config{
		Store: s.store, Engine: s.engine, Images: s.engine, Vaults: s.vaults, Volumes: s.blocks, Unseal: s.sealer.Open,
		Stager: staging.New(staging.Config{RetryFor: s.cfg.StagingRetry, Now: time.Now}), Dir: s.outputs.Dir,
		Grace: s.cfg.Grace, Scratch: s.cfg.ScratchMB << 20, CheckScratch: s.engine.CheckScratch,
		SuspendedFree: s.cfg.SuspendedFree, PublicAddresses: addresses, Nameservers: nameservers, Search: search,
		Now: time.Now, Tick: s.cfg.Tick, Log: s.log,
	})
	if err := s.firstStart(ctx, host.Capacity); err != nil {
		return err
	}
	return s.checkMachines(ctx, host.Capacity)
}

// changed tells everybody what was stored of a job.
func (s *server) changed(job berth.Job, record berth.Record) {
	s.changes.Publish(job, record)
	if s.reconcile == nil { // not before open has finished: the first passes see what happened before
		return
	}
	s.scheduler.Notify(job, record.Event)
	s.reconcile.Notify(job, record.Event)
	s.usage.Notify(job, record.Event)
}

func (s *server) dsn() string {
	if s.cfg.Database != "" {
		return s.cfg.Database
	}
	return "sqlite:" + filepath.Join(s.cfg.Data, "berth.db")
}

func (s *server) close() (err error) {
	if s.engine != nil {
		err = s.engine.Close()
	}
	if s.store != nil {
		err = errors.Join(err, s.store.Close())
	}
	return err
}

// run serves until ctx ends or a part fails, and closes the listener. Requests are drained before the loops stop.
func (s *server) run(ctx context.Context, listener net.Listener, stdout io.Writer) error {
	url := "http://" + listener.Addr().String()
	listeners, apiURL := s.listenForJobs(ctx, listener)
	handler, sftp, err := s.services(ctx, apiURL, cmp.Or(s.cfg.APIURL, urlOf(listener.Addr())))
	if err == nil {
		err = s.announce(url)
	}
	if err != nil {
		return errors.Join(err, closeAll(listeners))
	}
	loops, loopCtx := errgroup.WithContext(context.WithoutCancel(ctx))
	loopCtx, stopLoops := context.WithCancel(loopCtx)
	defer stopLoops()
	cleaner := retention.New(retention.Config{
		Store: s.store, Files: s.outputs, ForgetUploads: s.vaults.ForgetUploads, Now: time.Now, Every: time.Hour,
		CompressAfter: s.cfg.OutputsCompressAfter, KeepFor: s.cfg.OutputsMaxAge, KeepBytes: s.cfg.OutputsMaxMB << 20, Log: s.log,
	})
	for _, run := range []func(context.Context) error{
		s.engine.Run, s.outputs.Run, s.scheduler.Run, s.reconcile.Run, s.usage.Run, s.blocks.Run, cleaner.Run, sftp,
	} {
		loops.Go(func() error { return run(loopCtx) })
	}
	_, _ = fmt.Fprintln(stdout, "ready", url)
	err = s.serveHTTP(ctx, loopCtx, listeners, handler)
	stopLoops()
	err = errors.Join(err, loops.Wait())
	detaching, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	if err := s.blocks.Close(detaching); err != nil {
		s.log.Warn("a block vault is left attached; the next start detaches it", "error", err)
	}
	return err
}

// serveHTTP serves until ctx ends or a loop has failed, then gives requests time to finish and ends those that follow a job.
func (s *server) serveHTTP(ctx, loops context.Context, listeners []net.Listener, handler http.Handler) error {
	requests, endRequests := context.WithCancel(context.WithoutCancel(ctx))
	defer endRequests()
	srv := &http.Server{
		Handler: handler, BaseContext: func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	srv.RegisterOnShutdown(func() { time.AfterFunc(finish, endRequests) })
	served := make(chan error, len(listeners))
	for _, listener := range listeners {
		go func() { served <- srv.Serve(listener) }()
	}
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", errors.Join(err, srv.Close()))
	case <-loops.Done():
	case <-ctx.Done():
	}
	s.log.Info("stopping; running jobs go on")
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
	defer cancel()
	err := srv.Shutdown(draining)
	if errors.Is(err, context.DeadlineExceeded) {
		err = srv.Close()
	}
	for range listeners {
		err = errors.Join(err, ignoreClosed(<-served))
	}
	return err
}

// services returns what answers HTTP and what serves SFTP. Jobs reach the server at apiURL, and browsers at the host of url unless the
// settings say otherwise.
func (s *server) services(ctx context.Context, apiURL, url string) (handler http.Handler, sftp func(context.Context) error, err error) {
	sites := sitesOf(s.cfg, url)
	if sites.Public == "" && s.cfg.JobPages != config.PagesOff {
		s.log.Info("web pages of jobs are off: no --job-domain says where", "public_url", cmp.Or(s.cfg.PublicURL, hostOf(url)))
	}
	service, err := s.service(apiURL, sites)
	if err != nil {
		return nil, nil, err
	}
	if handler, err = s.handler(service, sites); err != nil { //nolint:contextcheck // every request has a context of its own
		return nil, nil, err
	}
	sftp, err = s.sftp(ctx, service)
	return handler, sftp, err
}

// service returns the use cases.
func (s *server) service(apiURL string, sites control.Sites) (*control.Service, error) {
	addresses, err := s.cfg.JobAddresses()
	if err != nil {
		return nil, err
	}
	return control.New(control.Config{
		Store: s.store, Images: s.engine, Checker: image.NewChecker(image.CheckerConfig{}), Outputs: s.outputs,
		Agents: s.engine, Usage: s.usage, Forecaster: s.scheduler, Vaults: s.newVaults, Changes: s.changes,
		VaultDirs: s.vaults, Volumes: s.blocks, UserVolumes: s.cfg.UserVolumesMB << 20, Seal: s.sealer.Seal,
		ObjectEndpoints: s.cfg.ObjectEndpoints, LookAtKept: s.reconcile.Look,
		OpenVault: func(ctx context.Context, v berth.Vault, change bool) (control.VaultFiles, error) {
			return s.openVault(ctx, v, change)
		},
		Backup:       (&backup.Maker{Database: s.store, Data: s.cfg.Data, Version: version, Now: time.Now}).Write,
		CheckScratch: s.engine.CheckScratch, EngineReady: s.engine.Ping, APIURL: apiURL, Sites: sites,
		ExpandSubmitted: s.cfg.ExpandSubmitted, PublicAddresses: addresses, Log: s.log,
	}), nil
}

func (s *server) handler(service *control.Service, sites control.Sites) (http.Handler, error) {
	registry := prometheus.NewRegistry()
	if err := registerMetrics(registry, s.store); err != nil {
		return nil, err
	}
	proxies, err := s.cfg.Proxies()
	if err != nil {
		return nil, err
	}
	return httpapi.New(httpapi.Config{
		Control: httpapi.FromService(service), Log: s.log, Metrics: registry, Version: version, TrustedProxies: proxies,
		Sites: sites,
	})
}

// ignoreClosed leaves out that a server was told to stop.
func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

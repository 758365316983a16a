package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-hpc/berth/internal/config"
	"github.com/berth-hpc/berth/internal/store"
)

// TestWhatBlockVaultsLack: a start without the programs for them says what is missing, and serves all the same.
func TestWhatBlockVaultsLack(t *testing.T) {
	var log bytes.Buffer
	s := &server{cfg: config.Default(), log: slog.New(slog.NewTextHandler(&log, nil))}
	s.cfg.Data = t.TempDir()
	if err := s.cfg.Check(); err != nil {
		t.Fatal(err)
	}
	var err error
	s.store, err = store.Open(t.Context(), store.Config{DSN: "sqlite:" + filepath.Join(s.cfg.Data, "berth.db"), Log: s.log})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.store.Close() }()
	t.Setenv("PATH", filepath.Join(s.cfg.Data, "nowhere")) // which leaves those in /usr/sbin
	if err := s.openVolumes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text := log.String(); !strings.Contains(text, `vaults="encrypted block vaults"`) || !strings.Contains(text, "Debian package gocryptfs") {
		t.Errorf("the log does not say what is missing:\n%s", text)
	}
	sealed := s.sealer.Seal("secret", "vault")
	if err := s.openVolumes(t.Context()); err != nil {
		t.Fatal(err)
	}
	if secret, err := s.sealer.Open(sealed, "vault"); secret != "secret" || err != nil {
		t.Errorf("after another start: %q, %v", secret, err)
	}
	if info, err := os.Stat(filepath.Join(s.cfg.Data, sealKey)); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file of the key: %v, %v", info.Mode(), err)
	}
}

package main

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/config"
	"github.com/berth-hpc/berth/internal/control"
	"github.com/berth-hpc/berth/internal/store"
)

func TestDefaultMachinesFitTheMachine(t *testing.T) {
	for name, test := range map[string]struct {
		cores int
		want  map[string]int
	}{
		"one core":   {1, map[string]int{"n0": 1, "n1": 1, "n2": 1}},
		"two cores":  {2, map[string]int{"n0": 1, "n1": 1, "n2": 2}},
		"many cores": {64, map[string]int{"n0": 1, "n1": 32, "n2": 64}},
	} {
		t.Run(name, func(t *testing.T) {
			all := berth.Capacity{Cores: test.cores, RAM: 8 << 30, Slots: test.cores}
			got := make(map[string]int)
			for _, m := range defaultMachines(all) {
				got[m.Name] = m.Cores
				if !all.Fits(berth.Capacity{Cores: m.Cores, RAM: m.RAM, Slots: 1}) || m.RAM == 0 {
					t.Errorf("%+v does not fit", m)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCredentialsKeepTheKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "credentials")
	if err := writeCredentials(path, "", "secret"); err != nil {
		t.Fatal(err)
	}
	key, err := readKey(path)
	if err != nil || key != "secret" {
		t.Fatalf("key %q, %v", key, err)
	}
	if err := writeCredentials(path, "http://127.0.0.1:1", key); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	want := "export BERTH_URL=http://127.0.0.1:1\nexport BERTH_USER=admin\nexport BERTH_APIKEY=secret\n"
	if diff := cmp.Diff(want, string(text)); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v; others must not read the key", info.Mode(), err)
	}
}

func TestResolverSkipsServersThatOnlyTheHostReaches(t *testing.T) {
	dir := t.TempDir()
	local, upstream := filepath.Join(dir, "local"), filepath.Join(dir, "upstream")
	for path, text := range map[string]string{
		local:    "nameserver 127.0.0.53\nsearch local\n",
		upstream: "# written by hand\nnameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver nonsense\nsearch example.org example.com\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nameservers, search := resolver(filepath.Join(dir, "missing"), local, upstream)
	if diff := cmp.Diff([]string{"192.0.2.1", "2001:db8::1"}, nameservers); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"example.org", "example.com"}, search); diff != "" {
		t.Error(diff)
	}
	if nameservers, _ := resolver(local); nameservers != nil {
		t.Errorf("nameservers %v, want none", nameservers)
	}
}

func TestASecondServerIsKeptOut(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lockData(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lockData(dir); err == nil {
		t.Error("two servers have the same data directory")
	}
	unlock()
	again, err := lockData(dir)
	if err != nil {
		t.Fatal(err)
	}
	again()
}

// TestABusyPortIsFoundFirst: nothing is migrated or started for a server that cannot serve.
func TestABusyPortIsFoundFirst(t *testing.T) {
	busy, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	cfg := config.Default()
	cfg.Data, cfg.VolumeDirs, cfg.Listen = t.TempDir(), []string{t.TempDir()}, busy.Addr().String()
	if err := serve(t.Context(), cfg, io.Discard, io.Discard); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("serve: %v", err)
	}
	if _, err := os.Stat(filepath.Join(cfg.Data, "berth.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the database: %v", err)
	}
}

// TestDownMakesNothing of a misspelt directory.
func TestDownMakesNothing(t *testing.T) {
	cfg := config.Default()
	cfg.Data = filepath.Join(t.TempDir(), "misspelt")
	if err := down(t.Context(), &cfg, io.Discard); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("down: %v", err)
	}
	if _, err := os.Stat(cfg.Data); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory: %v", err)
	}
}

func TestAStaleSocketIsNoContainerd(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	if listens(t.Context(), socket) {
		t.Error("nothing listens")
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	if !listens(t.Context(), socket) {
		t.Error("something listens")
	}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if listens(t.Context(), socket) {
		t.Error("only the file is left")
	}
}

// storeWith opens a store with these machine types.
func storeWith(t *testing.T, machines []berth.Machine) *store.Store {
	t.Helper()
	st, err := store.Open(t.Context(), store.Config{
		DSN: "sqlite:" + filepath.Join(t.TempDir(), "berth.db"), Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	if err := st.SetMachines(t.Context(), machines, berth.Act{Kind: berth.ActMachineSet, By: berth.ByServer}); err != nil {
		t.Fatal(err)
	}
	return st
}

// TestFirstQueue: the default queue is made once, and is the administrator's from then on.
func TestFirstQueue(t *testing.T) {
	machine := func(name string) berth.Machine {
		return berth.Machine{Name: name, Cores: 1, RAM: 1, ScaleMin: 1, ScaleMax: 1}
	}
	for name, test := range map[string]struct {
		machines []berth.Machine
		want     string
	}{
		"usual machine types": {defaultMachines(berth.Capacity{Cores: 4, RAM: 8 << 30, Slots: 4}), "n1"},
		"others":              {[]berth.Machine{machine("big"), machine("small")}, "big"},
	} {
		t.Run(name, func(t *testing.T) {
			st := storeWith(t, test.machines)
			s := &server{store: st}
			for range 2 {
				if err := s.firstQueue(t.Context(), test.machines); err != nil {
					t.Fatal(err)
				}
			}
			queues, err := st.Queues(t.Context())
			if diff := cmp.Diff([]berth.Queue{{Name: "default", Machine: test.want, Size: 1}}, queues); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
			if last, err := st.LastRecord(t.Context()); last != int64(len(test.machines))+1 || err != nil {
				t.Errorf("%d records, %v; want one more than for the machine types", last, err)
			}
		})
	}
}

func TestURLForJobs(t *testing.T) {
	for _, test := range []struct {
		listens net.TCPAddr
		want    string
	}{
		{net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}, "http://127.0.0.1:8080/"},
		{net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 80}, "http://[2001:db8::1]:80/"},
		{net.TCPAddr{IP: net.IPv4zero, Port: 80}, "http://" + net.JoinHostPort(ownAddress(true), "80") + "/"},
		{net.TCPAddr{IP: net.IPv6unspecified, Port: 80}, "http://" + net.JoinHostPort(ownAddress(false), "80") + "/"},
	} {
		if got := urlOf(&test.listens); got != test.want {
			t.Errorf("%v is reached at %s, want %s", test.listens, got, test.want)
		}
	}
	if addr, err := netip.ParseAddr(ownAddress(true)); err != nil || !addr.Is4() || addr.IsUnspecified() {
		t.Errorf("own address %v, %v", addr, err)
	}
}

func TestSitesOf(t *testing.T) {
	const loopback, outside = "http://127.0.0.1:8080/", "http://10.1.2.3:8080/api/"
	for name, test := range map[string]struct {
		pages, domain, public, api string
		want                       control.Sites
	}{
		"laptop":         {"own", "", "", loopback, control.Sites{Public: loopback, Domain: "localhost"}},
		"laptop, IPv6":   {"own", "", "", "http://[::1]:80/", control.Sites{Public: "http://[::1]:80/", Domain: "localhost"}},
		"its name":       {"own", "", "http://localhost:80/", outside, control.Sites{Public: "http://localhost:80/", Domain: "localhost"}},
		"outside":        {"own", "", "", outside, control.Sites{}},
		"behind a proxy": {"own", "", "https://berth.example.org/", loopback, control.Sites{}},
		"with a domain":  {"own", "jobs.example.org", "https://berth.example.org/", loopback, control.Sites{Public: "https://berth.example.org/", Domain: "jobs.example.org"}},
		"shared":         {"shared", "jobs.example.org", "", outside, control.Sites{Public: "http://10.1.2.3:8080/"}},
		"off":            {"off", "jobs.example.org", "", loopback, control.Sites{}},
	} {
		cfg := config.Config{JobPages: test.pages, JobDomain: test.domain, PublicURL: test.public}
		if diff := cmp.Diff(test.want, sitesOf(cfg, test.api)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestMisfit(t *testing.T) {
	host := berth.Capacity{Cores: 4, RAM: 8 << 20, GPUs: 1, Slots: 4}
	off := errors.New("no quotas")
	for name, test := range map[string]struct {
		machine berth.Machine
		scratch error
		want    string
	}{
		"all of it":         {berth.Machine{Cores: 4, RAM: 8 << 20, GPUs: 1, Scratch: 1}, nil, ""},
		"cores":             {berth.Machine{Cores: 8, RAM: 1 << 20}, nil, "a node has 8 cores, 1 MiB and 0 GPUs, and this machine has 4, 8 and 1 for all jobs"},
		"no bound to be":    {berth.Machine{Cores: 1, RAM: 1}, off, ""},
		"a bound to be had": {berth.Machine{Cores: 1, RAM: 1, Scratch: 1}, off, "no quotas"},
	} {
		got := ""
		if err := misfit(test.machine, host, test.scratch); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %q; want %q", name, got, test.want)
		}
	}
}

func TestPinnedCPUsAreNotMoreThanThereAre(t *testing.T) {
	machine := berth.Capacity{Cores: 4, RAM: 1 << 30}
	for name, test := range map[string]struct {
		cfg  config.Config
		want int
	}{
		"all":             {config.Config{PinCPUs: true}, 4},
		"some":            {config.Config{PinCPUs: true, Cores: 3}, 3},
		"more":            {config.Config{PinCPUs: true, Cores: 5}, 0},
		"more, not fixed": {config.Config{Cores: 5}, 5},
	} {
		got, err := capacityOf(test.cfg, machine)
		if (err == nil) != (test.want > 0) || err == nil && (got.Cores != test.want || got.Slots != test.want) {
			t.Errorf("%s: %+v, %v; want %d cores", name, got, err, test.want)
		}
	}
}

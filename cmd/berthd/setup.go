package main

import (
	"bufio"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentbin"
	"github.com/berth-hpc/berth/internal/config"
	"github.com/berth-hpc/berth/internal/control"
	"github.com/berth-hpc/berth/internal/engine/containerd"
	"github.com/berth-hpc/berth/internal/store"
	"github.com/berth-hpc/berth/internal/wholefile"
)

const (
	adminName = "admin"
	// fileVault is the name of the file vault that every user has.
	fileVault = "data"
)

// systemContainerd is where distributions put the socket of their containerd.
const systemContainerd = "/run/containerd/containerd.sock"

func (s *server) engineConfig(ctx context.Context, agent string) containerd.Config {
	address := s.cfg.Containerd
	switch address {
	case "private":
		address = ""
	case "auto":
		address = ""
		if listens(ctx, systemContainerd) {
			address = systemContainerd
		}
	}
	return containerd.Config{
		Address: address, DataDir: s.cfg.Data, AgentPath: agent, Network: containerd.NetworkConfig{Mode: s.cfg.Network},
		GPUs: containerd.GPUConfig{Kind: s.cfg.GPUs}, PinCPUs: s.cfg.PinCPUs, Programs32Bit: s.cfg.Programs32Bit, Log: s.log,
	}
}

// openEngine opens the engine, unless it could not do what the settings say.
func (s *server) openEngine(ctx context.Context) error {
	agent, err := unpackAgent(filepath.Join(s.cfg.Data, "bin"))
	if err != nil {
		return err
	}
	cfg := s.engineConfig(ctx, agent)
	if s.cfg.ScratchMB > 0 {
		if err := cfg.CheckScratch(); err != nil {
			return err
		}
	}
	s.engine, err = containerd.Open(ctx, cfg)
	return err
}

// checkMachines warns of machine types whose jobs cannot run here.
func (s *server) checkMachines(ctx context.Context, host berth.Capacity) error {
	machines, err := s.store.Machines(ctx)
	if err != nil {
		return err
	}
	scratch := s.engine.CheckScratch()
	for _, m := range machines {
		if reason := misfit(m, host, scratch); reason != nil {
			s.log.WarnContext(ctx, "jobs of a machine type cannot run here", "machine", m.Name, "error", reason)
		}
	}
	return nil
}

// misfit says why jobs of a machine type cannot run on a host, nil when they can. scratch says why theirs could not be bounded.
func misfit(m berth.Machine, host berth.Capacity, scratch error) error {
	switch {
	case !host.Fits(m.Need()):
		return fmt.Errorf("a node has %d cores, %d MiB and %d GPUs, and this machine has %d, %d and %d for all jobs",
			m.Cores, m.RAM>>20, m.GPUs, host.Cores, host.RAM>>20, host.GPUs)
	case m.Scratch > 0:
		return scratch
	default:
		return nil
	}
}

// listens says whether somebody takes connections on a socket; a file alone may be left from a boot long ago.
func listens(ctx context.Context, socket string) bool {
	conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", socket)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// fixedHosts are the engine's hosts with what the settings give to jobs.
type fixedHosts []berth.Host

func (h fixedHosts) Hosts(context.Context) ([]berth.Host, error) { return h, nil }

// host is the host of the engine with what the settings give to jobs.
func (s *server) host(ctx context.Context) (berth.Host, error) {
	hosts, err := s.engine.Hosts(ctx)
	if err != nil {
		return berth.Host{}, err
	}
	host := hosts[0]
	host.Capacity, err = capacityOf(s.cfg, host.Capacity)
	return host, err
}

// capacityOf is what of a machine the settings give to jobs.
func capacityOf(cfg config.Config, machine berth.Capacity) (berth.Capacity, error) {
	capacity := machine
	if cfg.Cores > 0 {
		capacity.Cores = cfg.Cores
	}
	if cfg.PinCPUs && capacity.Cores > machine.Cores {
		return capacity, fmt.Errorf("--pin-cpus with --cores %d: this machine has %d, and none is given twice", capacity.Cores, machine.Cores)
	}
	if cfg.MemoryMB > 0 {
		capacity.RAM = cfg.MemoryMB << 20
	}
	capacity.Slots = capacity.Cores
	if cfg.Slots > 0 {
		capacity.Slots = cfg.Slots
	}
	return capacity, nil
}

// firstStart makes machine types that fit this machine, the default queue and the user admin, unless they are there.
func (s *server) firstStart(ctx context.Context, capacity berth.Capacity) error {
	machines, err := s.store.Machines(ctx)
	if err != nil {
		return err
	}
	if len(machines) == 0 {
		machines = defaultMachines(capacity)
		act := berth.Act{Kind: berth.ActMachineSet, At: time.Now(), By: berth.ByServer, Detail: "first start"}
		if err := s.store.SetMachines(ctx, machines, act); err != nil {
			return err
		}
	}
	if err := s.firstQueue(ctx, machines); err != nil {
		return err
	}
	_, err = s.store.User(ctx, adminName)
	if berth.KindOf(err) != berth.NotFound {
		return err
	}
	// The file first: a server killed in between makes a new key, and nobody is locked out.
	key := control.NewKey()
	if err := writeCredentials(s.credentials(), "", key); err != nil {
		return err
	}
	now := time.Now().UTC()
	return s.store.CreateUser(ctx, store.NewUser{
		User:    berth.User{Name: adminName, Admin: true, Billing: true},
		Key:     berth.Key{ID: control.NewKeyID(), User: adminName, Label: "first start", Created: now},
		KeyHash: control.HashKey(key),
		Vaults:  s.newVaults(adminName),
	}, berth.Act{Kind: berth.ActUserAdded, At: now, By: berth.ByServer, Subject: adminName, Detail: "first start"})
}

// queueMachine is the machine type of the default queue, when it is there; else the first is.
const queueMachine = "n1"

// firstQueue makes the default queue unless it is there. Its application is for an administrator to choose.
func (s *server) firstQueue(ctx context.Context, machines []berth.Machine) error {
	_, err := s.store.Queue(ctx, berth.DefaultQueue)
	if berth.KindOf(err) != berth.NotFound {
		return err
	}
	machine := machines[0].Name
	if slices.ContainsFunc(machines, func(m berth.Machine) bool { return m.Name == queueMachine }) {
		machine = queueMachine
	}
	return s.store.SetQueue(ctx, berth.Queue{Name: berth.DefaultQueue, Machine: machine, Size: 1}, berth.Act{
		Kind: berth.ActQueueSet, At: time.Now(), By: berth.ByServer, Subject: berth.DefaultQueue, Detail: "first start",
	})
}

// sitesOf says where the web pages of jobs are served by a server that is reached at an address. Browsers take all names below localhost for their own machine, so a server that is reached there
// needs no domain.
func sitesOf(cfg config.Config, address string) control.Sites {
	public := cmp.Or(cfg.PublicURL, hostOf(address))
	switch {
	case cfg.JobPages == config.PagesShared:
		return control.Sites{Public: public}
	case cfg.JobPages == config.PagesOff:
		return control.Sites{}
	case cfg.JobDomain != "":
		return control.Sites{Public: public, Domain: cfg.JobDomain}
	case onLoopback(public):
		return control.Sites{Public: public, Domain: "localhost"}
	default:
		return control.Sites{}
	}
}

func onLoopback(address string) bool {
	parsed, err := url.Parse(address)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(parsed.Hostname())
	return parsed.Hostname() == "localhost" || err == nil && addr.IsLoopback()
}

// hostOf returns an address without its path.
func hostOf(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return address
	}
	return parsed.Scheme + "://" + parsed.Host + "/"
}

// newVaults returns the vaults that a new user gets.
func (s *server) newVaults(user string) []berth.Vault {
	return []berth.Vault{
		{Name: berth.EphemeralVault, Owner: user, Kind: berth.VaultEphemeral},
		{Name: fileVault, Owner: user, Kind: berth.VaultFile, Path: s.vaults.FilePath(user, fileVault)},
	}
}

// defaultMachines returns one core, half of the machine and all of it, each with its share of the memory.
func defaultMachines(all berth.Capacity) []berth.Machine {
	share := func(name, description string, cores, position int) berth.Machine {
		return berth.Machine{
			Name: name, Description: description, Cores: cores, RAM: all.RAM / int64(all.Cores) * int64(cores),
			ScaleMin: 1, ScaleMax: all.Cores / cores, Position: position,
		}
	}
	return []berth.Machine{
		share("n0", "One core", 1, 0),
		share("n1", "Half of the machine", max(1, all.Cores/2), 1),
		share("n2", "The whole machine", all.Cores, 2),
	}
}

func (s *server) credentials() string { return filepath.Join(s.cfg.Data, "credentials") }

// announce puts the address into the credentials file. An administrator may have deleted the file; then there is nothing to do. A
// full disk is no reason not to serve: jobs run.
func (s *server) announce(url string) error {
	key, err := readKey(s.credentials())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := writeCredentials(s.credentials(), url, key); err != nil {
		s.log.Warn("the credentials file still has the address of the last start", "address", url, "error", err)
	}
	return nil
}

const keyVariable = "BERTH_APIKEY="

func readKey(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(text)) {
		if key, ok := strings.CutPrefix(strings.TrimSpace(line), "export "+keyVariable); ok {
			return key, nil
		}
	}
	return "", fmt.Errorf("%s holds no line export %s…: delete the file, or restore it", path, keyVariable)
}

// writeCredentials leaves a whole file or the old one. Its lines are for a shell to source.
func writeCredentials(path, url, key string) error {
	text := "export BERTH_URL=" + url + "\nexport BERTH_USER=" + adminName + "\nexport " + keyVariable + key + "\n"
	return wholefile.Write(path, []byte(text), 0o600)
}

// unpackAgent puts the agent where containers can mount it, under a name of its own for each version: jobs that run keep theirs.
func unpackAgent(dir string) (string, error) {
	binary, err := agentbin.Bytes()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(binary)
	path := filepath.Join(dir, "berth-init-"+hex.EncodeToString(sum[:6]))
	if info, err := os.Stat(path); err == nil && info.Size() == int64(len(binary)) {
		return path, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // the agent is no secret
		return "", err
	}
	return path, wholefile.Write(path, binary, 0o755)
}

// randomAttempt returns the random part of an attempt's id.
func randomAttempt() string { return strings.ToLower(rand.Text()[:10]) }

// resolver returns the nameservers and search domains of the first file that names a server which a job can reach: one on a
// loopback address is only there for the host.
func resolver(paths ...string) (nameservers, search []string) {
	for _, path := range paths {
		nameservers, search = parseResolver(path)
		if len(nameservers) > 0 {
			return nameservers, search
		}
	}
	return nil, nil
}

func parseResolver(path string) (nameservers, search []string) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) < 2:
		case words[0] == "search":
			search = words[1:]
		case words[0] == "nameserver":
			if addr, err := netip.ParseAddr(words[1]); err == nil && !addr.IsLoopback() {
				nameservers = append(nameservers, words[1])
			}
		}
	}
	return nameservers, search
}

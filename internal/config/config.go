// Package config holds the settings of the server, their defaults and their limits.
package config

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/berth-hpc/berth"
)

// Config are the settings of a server. Default returns ones that need no change.
type Config struct {
	// Data is the data directory; absolute after Check.
	Data string
	// Listen is the address to serve on, host:port; port 0 takes a free one.
	Listen string
	// SFTPListen is the address to serve the files of vaults on by SFTP, host:port; empty is not at all.
	SFTPListen string
	// APIURL is where jobs reach the server, an http:// or https:// address; ends in a slash after Check. Empty is Listen.
	APIURL string
	// JobPages says where the web pages of jobs, and shells in them, are served: PagesOwn, PagesShared or PagesOff.
	JobPages string
	// JobDomain is the domain below which jobs have hosts of their own: all names there lead to the server. Empty is "localhost" where
	// PublicURL is on the loopback, and no pages elsewhere.
	JobDomain string
	// PublicURL is where browsers reach the server, without a path, like APIURL. Empty is the host of APIURL.
	PublicURL string
	// ExpandSubmitted lets the shell of a job expand $ in the parameters that users submit to applications.
	ExpandSubmitted bool
	// TrustedProxies are the networks (10.0.0.0/8) and addresses of proxies whose X-Forwarded-For tells where a request came from.
	TrustedProxies []string
	// PublicAddresses are addresses of this machine that jobs can be reached at: ADDRESS for everybody's, ADDRESS=USER,USER for those of
	// some users.
	PublicAddresses []string
	// Database is a postgres:// address; empty is the embedded database in the data directory.
	Database string
	// Containerd is the socket of a containerd to use; "auto" takes the system's when it answers, else a private one; "private"
	// always takes a private one.
	Containerd string
	// Network is how jobs reach the outside: "bridge" or "none".
	Network string
	// GPUs is the kind of devices that are GPUs, as the Container Device Interface names them.
	GPUs string
	// Programs32Bit lets 32-bit programs run in 64-bit images, which makes every start slower.
	Programs32Bit bool
	// Cores, MemoryMB and Slots are what this machine gives to jobs; 0 is all of it, and one slot for each core.
	Cores    int
	MemoryMB int64
	Slots    int
	// PinCPUs gives each node of a job cores of its own. Cores counts such cores then.
	PinCPUs bool
	// ScratchMB bounds what a job may have in its containers and its ephemeral vault together, in MiB, when its machine type
	// does not say it; 0 is no bound.
	ScratchMB int64
	// Grace is how long a command may take to end after a shutdown.
	Grace time.Duration
	// ObjectEndpoints are the addresses of S3 stores on private networks that users may have vaults in, http:// or https:// without a
	// path. Those that administrators add vaults for need not be here.
	ObjectEndpoints []string
	// VolumeDirs are where the volumes of block vaults are, absolute after Check; arrays are spread over all of them. Empty is below the
	// data directory.
	VolumeDirs []string
	// UserVolumesMB is what the block vaults that a user makes may have together, in MiB; 0 leaves making them to administrators.
	UserVolumesMB int64
	// StagingRetry is how long a store may do nothing that helps before a job that needs it is given up.
	StagingRetry time.Duration
	// AssumedWalltime is how much longer a job is expected to run when nobody knows.
	AssumedWalltime time.Duration
	// SuspendedFree says that time in which a job is suspended does not count as walltime.
	SuspendedFree bool
	// OutputsCompressAfter and OutputsMaxAge are how long after the end of a job its output is compressed, and deleted; age 0 is never.
	OutputsCompressAfter, OutputsMaxAge time.Duration
	// OutputsMaxMB bounds what all compressed outputs have on disk, in MiB; 0 is no bound.
	OutputsMaxMB int64
	// SampleEvery is how often what running jobs use is measured.
	SampleEvery time.Duration
	// Tick is how often the loops look without being told.
	Tick time.Duration
	// LogLevel is debug, info, warn or error.
	LogLevel string
}

// Where the web pages of jobs are served.
const (
	// PagesOwn: at hosts below JobDomain, one for each port of a job.
	PagesOwn = "own"
	// PagesShared: below a path of the server. The pages of all jobs share its origin then, and there are no shells in the browser.
	PagesShared = "shared"
	PagesOff    = "off"
)

// Default returns the settings of a server that was told nothing.
func Default() Config {
	return Config{
		Data: "/var/lib/berth", Listen: "127.0.0.1:8080", JobPages: PagesOwn, Containerd: "auto", Network: "bridge",
		Grace: 3 * time.Second, AssumedWalltime: 24 * time.Hour, StagingRetry: time.Hour, OutputsCompressAfter: 24 * time.Hour, OutputsMaxAge: 365 * 24 * time.Hour,
		SampleEvery: 10 * time.Second, Tick: 10 * time.Second, LogLevel: "info",
	}
}

// Check makes Data and VolumeDirs absolute and returns everything that is wrong, each with the flag to change.
func (c *Config) Check() error {
	var wrong []error
	refuse := func(flag string, value any, allowed string) {
		wrong = append(wrong, fmt.Errorf("--%s %v: %s", flag, value, allowed))
	}
	data, err := filepath.Abs(c.Data)
	if c.Data == "" || err != nil {
		refuse("data", c.Data, "must name a directory")
	}
	c.Data = data
	c.checkVolumes(refuse)
	c.checkAddresses(refuse)
	if c.Database != "" && !strings.HasPrefix(c.Database, "postgres://") && !strings.HasPrefix(c.Database, "postgresql://") {
		refuse("database", "…", "must be a postgres:// address, or empty for the embedded database")
	}
	if c.Containerd != "auto" && c.Containerd != "private" && !filepath.IsAbs(c.Containerd) {
		refuse("containerd", c.Containerd, "must be auto, private or the path of a socket")
	}
	if c.Network != "bridge" && c.Network != "none" {
		refuse("network", c.Network, "must be bridge or none")
	}
	for flag, value := range map[string]int64{"cores": int64(c.Cores), "memory-mb": c.MemoryMB, "slots": int64(c.Slots)} {
		if value < 0 {
			refuse(flag, value, "must not be negative; 0 takes what the machine has")
		}
	}
	if c.ScratchMB < 0 {
		refuse("scratch-mb", c.ScratchMB, "must not be negative; 0 is no bound")
	}
	if c.Grace < 0 {
		refuse("grace", c.Grace, "must not be negative")
	}
	c.checkRetention(refuse)
	for flag, value := range map[string]time.Duration{
		"assumed-walltime": c.AssumedWalltime, "sample-every": c.SampleEvery, "tick": c.Tick, "staging-retry": c.StagingRetry,
	} {
		if value <= 0 {
			refuse(flag, value, "must be above 0")
		}
	}
	if _, err := c.Level(); err != nil {
		refuse("log-level", c.LogLevel, "must be debug, info, warn or error")
	}
	return errors.Join(wrong...)
}

// checkVolumes refuses places where no volumes can be.
func (c *Config) checkVolumes(refuse func(flag string, value any, allowed string)) {
	if c.UserVolumesMB < 0 {
		refuse("user-volumes-mb", c.UserVolumesMB, "must not be negative; 0 leaves block vaults to administrators")
	}
	if len(c.VolumeDirs) == 0 {
		c.VolumeDirs = []string{filepath.Join(c.Data, "volumes")}
	}
	for i, dir := range c.VolumeDirs {
		absolute, err := filepath.Abs(dir)
		if dir == "" || err != nil || slices.Contains(c.VolumeDirs[:i], absolute) {
			refuse("volume-dir", dir, "must name a directory, and each another one")
		}
		c.VolumeDirs[i] = absolute
	}
}

// checkRetention refuses what would mean nothing.
func (c *Config) checkRetention(refuse func(flag string, value any, allowed string)) {
	if c.OutputsCompressAfter < 0 {
		refuse("outputs-compress-after", c.OutputsCompressAfter, "must not be negative")
	}
	if c.OutputsMaxAge < 0 {
		refuse("outputs-max-age", c.OutputsMaxAge, "must not be negative; 0 keeps outputs for ever")
	}
	if c.OutputsMaxMB < 0 {
		refuse("outputs-max-mb", c.OutputsMaxMB, "must not be negative; 0 is no bound")
	}
}

// checkAddresses refuses those at which the server and its jobs cannot be reached.
func (c *Config) checkAddresses(refuse func(flag string, value any, allowed string)) {
	if _, _, err := net.SplitHostPort(c.Listen); err != nil {
		refuse("listen", c.Listen, "must be HOST:PORT, for example 127.0.0.1:8080 or :8080")
	}
	if _, _, err := net.SplitHostPort(c.SFTPListen); err != nil && c.SFTPListen != "" {
		refuse("sftp-listen", c.SFTPListen, "must be HOST:PORT, for example 127.0.0.1:2222 or :2222, or empty for no SFTP")
	}
	if !checkURL(&c.APIURL) {
		refuse("api-url", c.APIURL, "must be an address such as https://berth.example.org/, or empty for that of --listen")
	}
	if !checkURL(&c.PublicURL) || strings.Count(c.PublicURL, "/") > len("://") {
		refuse("public-url", c.PublicURL, "must be an address without a path such as https://berth.example.org/, or empty for the host of --api-url")
	}
	switch c.JobPages {
	case PagesOwn, PagesShared, PagesOff:
	default:
		refuse("job-pages", c.JobPages, "must be own, shared or off")
	}
	if c.JobDomain != "" && (!domain.MatchString(c.JobDomain) || len(c.JobDomain) > maxDomain) {
		refuse("job-domain", c.JobDomain, "must be a domain such as jobs.example.org, in small letters")
	}
	if _, err := c.JobAddresses(); err != nil {
		refuse("public-address", strings.Join(c.PublicAddresses, " "), "must be ADDRESS or ADDRESS=USER,USER, for example 192.0.2.7=ada")
	}
	for i := range c.ObjectEndpoints {
		if !checkEndpoint(&c.ObjectEndpoints[i]) {
			refuse("object-endpoint", c.ObjectEndpoints[i], "must be an address without a path, for example http://minio.example.org:9000")
		}
	}
	if _, err := c.Proxies(); err != nil {
		refuse("trusted-proxy", strings.Join(c.TrustedProxies, ","), "must be networks or addresses, for example 10.0.0.0/8 or ::1")
	}
}

// checkEndpoint has an address of an S3 store end without a slash. It returns false when it is no such address.
func checkEndpoint(address *string) bool {
	if *address == "" || !checkURL(address) || strings.Count(*address, "/") > len("://") {
		return false
	}
	*address = strings.TrimSuffix(*address, "/")
	return true
}

// domain is the name of one, and maxDomain leaves room for a label before it.
var domain = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)

const maxDomain = 220

// checkURL has an address of a server end in a slash; empty is fine. It returns false when it is no such address.
func checkURL(address *string) bool {
	if *address == "" {
		return true
	}
	parsed, err := url.Parse(*address)
	if err != nil || parsed.Scheme != "http" && parsed.Scheme != "https" || parsed.Host == "" || parsed.RawQuery != "" || parsed.Fragment != "" {
		return false
	}
	*address = strings.TrimSuffix(*address, "/") + "/"
	return true
}

// Proxies returns TrustedProxies. A single address is a network of one.
func (c *Config) Proxies() ([]netip.Prefix, error) {
	networks := make([]netip.Prefix, 0, len(c.TrustedProxies))
	for _, text := range c.TrustedProxies {
		network, err := netip.ParsePrefix(text)
		if addr, errAddr := netip.ParseAddr(text); errAddr == nil {
			network, err = addr.Prefix(addr.BitLen())
		}
		if err != nil {
			return nil, err
		}
		networks = append(networks, network.Masked())
	}
	return networks, nil
}

// JobAddresses returns PublicAddresses.
func (c *Config) JobAddresses() ([]berth.PublicAddress, error) {
	addresses := make([]berth.PublicAddress, 0, len(c.PublicAddresses))
	for _, text := range c.PublicAddresses {
		address, users, restricted := strings.Cut(text, "=")
		parsed, err := netip.ParseAddr(address)
		if err != nil {
			return nil, err
		}
		public := berth.PublicAddress{Address: parsed.String()}
		if restricted {
			if public.Users = strings.Split(users, ","); slices.Contains(public.Users, "") {
				return nil, fmt.Errorf("%s: a user without a name", text)
			}
		}
		addresses = append(addresses, public)
	}
	return addresses, nil
}

// Level returns the log level.
func (c *Config) Level() (slog.Level, error) {
	var level slog.Level
	err := level.UnmarshalText([]byte(c.LogLevel))
	return level, err
}

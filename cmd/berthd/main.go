// Berthd is the berth server: it accepts containerised jobs over HTTP, runs them with containerd and keeps what happened to them.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/internal/config"
)

// version is set by the linker.
var version = "devel"

// Most of the heap of a busy server is requests that are over: collecting it less often gives a fifth more submissions a second.
// Above the limit the collector works as hard as it must.
const (
	collectAt   = 300 // percent of the live heap
	memoryLimit = 512 << 20
)

// tuneCollector leaves alone what the administrator has set by GOGC and GOMEMLIMIT.
func tuneCollector() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(memoryLimit)
	}
}

func main() {
	tuneCollector()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "berthd:", err)
		os.Exit(1) //nolint:gocritic // nothing is left to be undone
	}
}

// command returns the command line of the server.
func command() *cobra.Command {
	cfg := config.Default()
	root := &cobra.Command{
		Use:   "berthd",
		Short: "Serve the JARVICE job API and run jobs on this machine",
		Long: `Berthd serves the JARVICE job API and runs each job in a container on this machine.

On its first start it makes the data directory, machine types that fit this machine and the user admin, whose key is written to
DIR/credentials. It prints "ready http://ADDRESS" when it serves. SIGTERM ends it; running jobs go on and are adopted by the next
start. It needs root, containerd and runc.`,
		Version: version, Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cfg.Check(); err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := root.PersistentFlags()
	flags.StringVar(&cfg.Data, "data", cfg.Data, "data directory")
	flags.StringVar(&cfg.LogLevel, "log-level", cfg.LogLevel, "debug, info, warn or error")
	own := root.Flags()
	own.StringVar(&cfg.Listen, "listen", cfg.Listen, "address to serve on; port 0 takes a free one")
	own.StringVar(&cfg.APIURL, "api-url", cfg.APIURL, "address at which jobs reach this server; empty is that of --listen")
	own.StringVar(&cfg.JobPages, "job-pages", cfg.JobPages,
		"web pages of jobs: own (hosts below --job-domain), shared (below /jobs/, for users who may see each other's pages in one browser) or off")
	own.StringVar(&cfg.JobDomain, "job-domain", cfg.JobDomain,
		"domain below which each job has hosts of its own; all names there must lead here. Empty is localhost, for browsers on this machine")
	own.StringVar(&cfg.PublicURL, "public-url", cfg.PublicURL, "address at which browsers reach this server; empty is the host of --api-url")
	own.BoolVar(&cfg.ExpandSubmitted, "expand-submitted", cfg.ExpandSubmitted,
		"let the shell of a job expand $ in submitted parameters: users then run commands that the application does not have")
	own.StringSliceVar(&cfg.TrustedProxies, "trusted-proxy", cfg.TrustedProxies, "networks or addresses of proxies whose X-Forwarded-For is believed")
	own.StringArrayVar(&cfg.PublicAddresses, "public-address", cfg.PublicAddresses,
		"ADDRESS or ADDRESS=USER,USER: an address of this machine that a job which asks for one can be reached at; may be repeated")
	own.StringVar(&cfg.Database, "database", cfg.Database, "postgres:// address; empty is the embedded database")
	own.StringVar(&cfg.Containerd, "containerd", cfg.Containerd, "auto, private or the path of a containerd socket")
	own.StringVar(&cfg.Network, "network", cfg.Network, "network of the jobs: bridge or none")
	own.StringVar(&cfg.GPUs, "gpus", cfg.GPUs, "kind of devices (Container Device Interface) that jobs get as GPUs, such as nvidia.com/gpu; empty is none")
	own.BoolVar(&cfg.Programs32Bit, "programs-32bit", cfg.Programs32Bit, "let 32-bit programs run in 64-bit images; every start takes longer then")
	own.IntVar(&cfg.Cores, "cores", cfg.Cores, "cores for jobs; 0 is all of this machine")
	own.Int64Var(&cfg.MemoryMB, "memory-mb", cfg.MemoryMB, "memory for jobs in MiB; 0 is all of this machine")
	own.IntVar(&cfg.Slots, "slots", cfg.Slots, "how many containers may run at once; 0 is one for each core")
	own.BoolVar(&cfg.PinCPUs, "pin-cpus", cfg.PinCPUs, "give each node of a job cores of its own, with all their hardware threads; --cores counts such cores then")
	own.DurationVar(&cfg.Grace, "grace", cfg.Grace, "how long a command may take to end after a shutdown; machine types can say otherwise")
	own.StringArrayVar(&cfg.ObjectEndpoints, "object-endpoint", cfg.ObjectEndpoints,
		"address of an S3 store on a private network that users may have vaults in; may be repeated")
	own.DurationVar(&cfg.StagingRetry, "staging-retry", cfg.StagingRetry, "how long an S3 store may not answer before a job that needs it is given up")
	own.BoolVar(&cfg.SuspendedFree, "suspended-time-free", cfg.SuspendedFree, "time in which a job is suspended does not count as walltime")
	own.DurationVar(&cfg.AssumedWalltime, "assumed-walltime", cfg.AssumedWalltime,
		"how much longer jobs without a walltime limit are expected to run: jobs with shorter limits may go before one that waits for them")
	own.DurationVar(&cfg.SampleEvery, "sample-every", cfg.SampleEvery, "how often to measure what running jobs use")
	own.DurationVar(&cfg.Tick, "tick", cfg.Tick, "how often to look for what no event told")
	dataFlags(root, &cfg)
	root.AddCommand(downCommand(&cfg), restoreCommand(&cfg))
	return root
}

// dataFlags are those of what is kept, and how it is reached.
func dataFlags(root *cobra.Command, cfg *config.Config) {
	own := root.Flags()
	own.StringVar(&cfg.SFTPListen, "sftp-listen", cfg.SFTPListen, "address to serve the files of vaults on by SFTP, such as :2222; empty is not at all")
	volumeFlag(root, cfg)
	own.Int64Var(&cfg.UserVolumesMB, "user-volumes-mb", cfg.UserVolumesMB,
		"what the block vaults that a user makes may have together, in MiB; 0 leaves making them to administrators")
	own.Int64Var(&cfg.ScratchMB, "scratch-mb", cfg.ScratchMB,
		"what a job may have in its containers and its ephemeral vault together in MiB, where --data has project quotas; machine types can say otherwise; 0 is no bound")
	own.DurationVar(&cfg.OutputsCompressAfter, "outputs-compress-after", cfg.OutputsCompressAfter, "how long after the end of a job its output is compressed")
	own.DurationVar(&cfg.OutputsMaxAge, "outputs-max-age", cfg.OutputsMaxAge, "how long after the end of a job its output is deleted; 0 is never")
	own.Int64Var(&cfg.OutputsMaxMB, "outputs-max-mb", cfg.OutputsMaxMB, "what compressed outputs may have on disk in MiB, beyond which the oldest go; 0 is no bound")
}

func volumeFlag(cmd *cobra.Command, cfg *config.Config) {
	cmd.Flags().StringArrayVar(&cfg.VolumeDirs, "volume-dir", cfg.VolumeDirs,
		"directory for the volumes of block vaults; may be repeated, which spreads arrays over several disks (default DATA/volumes)")
}

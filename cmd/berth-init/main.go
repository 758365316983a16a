// Go would read the container's CPU limit at the start and watch it. The agent needs no more than one CPU.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command berth-init is PID 1 in every container of a job. The server mounts it there; it takes no arguments. It is also what the agent
// runs as the ssh server of a node, and by the names ssh, scp and sftp a client for images that have none.
package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"

	"github.com/berth-hpc/berth/internal/agent"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/sshclient"
	"github.com/berth-hpc/berth/internal/sshd"
)

func main() {
	name := filepath.Base(os.Args[0])
	switch {
	case slices.Contains(sshclient.Programs, name):
		os.Exit(sshclient.Main(name, os.Args[1:]))
	case len(os.Args) == 2 && os.Args[1] == agentapi.SSHServer:
		os.Exit(serve(os.Stdin, os.Stdout))
	default:
		os.Exit(agent.Run(agent.Config{Root: "/", Dir: agentapi.Dir, Environ: os.Environ(), Log: os.Stderr}))
	}
}

// serve is the ssh server. It says on status that it serves, or why it cannot.
func serve(config io.Reader, status io.Writer) int {
	cfg, err := sshd.ReadConfig(config)
	var listener net.Listener
	if err == nil {
		listener, err = cfg.Listen()
	}
	if err == nil {
		_, _ = fmt.Fprintln(status, agentapi.SSHReady)
		err = sshd.Serve(cfg, listener)
	}
	_, _ = fmt.Fprintln(status, err)
	return 1
}

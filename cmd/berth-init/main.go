// Go would read the container's CPU limit at the start and watch it. The agent needs no more than one CPU.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Command berth-init is PID 1 in every container of a job. The server mounts it there; it takes no arguments.
package main

import (
	"os"

	"github.com/berth-hpc/berth/internal/agent"
	"github.com/berth-hpc/berth/internal/agentapi"
)

func main() {
	os.Exit(agent.Run(agent.Config{Root: "/", Dir: agentapi.Dir, Environ: os.Environ(), Log: os.Stderr}))
}

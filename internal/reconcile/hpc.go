package reconcile

import (
	"maps"
	"strconv"
	"strings"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
)

// hpcEnv is the environment of an HPC script: what the client sent, and what its own text counts on and does not set itself.
func hpcEnv(job berth.Job, nodes []agentapi.Node, sent map[string]string) map[string]string {
	names := make([]string, len(nodes))
	for i, node := range nodes {
		names[i] = node.Name
	}
	number := strconv.FormatInt(job.Number, 10)
	env := map[string]string{
		"slurm_hosts": strings.Join(names, ","), "slurm_host": names[0], "host_alias": names[0],
		"SLURM_JOB_ID": number, "JOB_ID": number,
	}
	maps.Copy(env, sent)
	return env
}

package reconcile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/sshkey"
	"github.com/berth-hpc/berth/internal/wholefile"
)

// nodeDir is the directory of a node of a job. The first node has the job's own, where its output is.
func nodeDir(dir string, node int) string {
	if node == 0 {
		return dir
	}
	return filepath.Join(dir, "node-"+strconv.Itoa(node+1))
}

// nodesOf says which nodes a job has, the first of which runs the command.
func nodesOf(job berth.Job) []agentapi.Node {
	nodes := make([]agentapi.Node, job.Nodes())
	for i := range nodes {
		nodes[i] = agentapi.Node{Name: job.NodeName(i), Cores: job.Need.Cores}
	}
	return nodes
}

// writeSpecs leaves the specification of every node in its directory and returns the workers.
func writeSpecs(dir string, spec agentapi.Spec) ([]engine.Worker, error) {
	if err := writeSpec(dir, spec); err != nil {
		return nil, err
	}
	workers := make([]engine.Worker, 0, len(spec.Nodes)-1)
	for i := 1; i < len(spec.Nodes); i++ {
		spec.Hostname = spec.Nodes[i].Name
		worker := engine.Worker{Hostname: spec.Hostname, Dir: nodeDir(dir, i)}
		if err := writeSpec(worker.Dir, spec); err != nil {
			return nil, err
		}
		workers = append(workers, worker)
	}
	return workers, nil
}

// ssh returns the keys of a job of several nodes, with a public address, with a key that its owner has asked for, or of an owner with
// public keys, whom it lets in; nil for others. The keys of the job's own are those that an earlier call has written to its specification,
// when there was one: some of its nodes may know them already. Who is let in may have changed meanwhile.
func (r *Reconciler) ssh(ctx context.Context, job berth.Job, address string, key []byte) (*agentapi.SSH, error) {
	registered, err := r.cfg.Store.SSHKeys(ctx, job.Owner)
	if err != nil {
		return nil, err
	}
	if job.Nodes() == 1 && address == "" && len(key) == 0 && len(registered) == 0 {
		return nil, nil //nolint:nilnil // nobody shall get in
	}
	keys := agentapi.SSH{Key: key}
	var written agentapi.Spec
	text, err := os.ReadFile(filepath.Join(r.cfg.Dir(job.Number), agentapi.SpecFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("specification of job %d: %w", job.Number, err)
	case json.Unmarshal(text, &written) == nil && written.SSH != nil:
		keys.Key, keys.HostKey = written.SSH.Key, written.SSH.HostKey
	}
	for _, key := range []*[]byte{&keys.Key, &keys.HostKey} {
		if len(*key) > 0 {
			continue
		}
		made, err := sshkey.New(job.Name)
		if err != nil {
			return nil, fmt.Errorf("job %d: %w", job.Number, err)
		}
		*key = made.Private
	}
	for _, public := range registered {
		keys.Authorized = append(keys.Authorized, strings.TrimSpace(public.Line+" "+public.Comment))
	}
	return &keys, nil
}

// removeFiles removes what the nodes of a job were told and have told, and the directories of all but the first. Safe to repeat.
func removeFiles(job berth.Job, dir string) error {
	names := []string{
		agentapi.SpecFile, agentapi.SpecFile + unfinished, agentapi.PeersFile, agentapi.ReportFile, agentapi.ReportFile + wholefile.Unfinished,
	}
	for _, name := range names {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove what job %d was told: %w", job.Number, err)
		}
	}
	for i := 1; i < job.Nodes(); i++ {
		if err := os.RemoveAll(nodeDir(dir, i)); err != nil {
			return fmt.Errorf("remove what a node of job %d left: %w", job.Number, err)
		}
	}
	return nil
}

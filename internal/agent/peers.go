package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// addPeers gives the nodes of a job the addresses that the engine has written down. A job of one node has none of that.
func addPeers(spec *agentapi.Spec, dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, agentapi.PeersFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var peers []agentapi.Node
	if err := json.Unmarshal(text, &peers); err != nil {
		return fmt.Errorf("%s: %w", agentapi.PeersFile, err)
	}
	addresses := make(map[string]string, len(peers))
	for _, peer := range peers {
		addresses[peer.Name] = peer.Address
	}
	for i, node := range spec.Nodes {
		if address, known := addresses[node.Name]; known {
			spec.Nodes[i].Address = address
		}
	}
	return nil
}

// isWorker says whether the command runs on another node.
func isWorker(spec agentapi.Spec) bool { return spec.Hostname != spec.Nodes[0].Name }

// Package agentbin carries the agent (cmd/berth-init) inside the server's binary, so that one file is all that a machine
// needs. The agent is put here by make build; a checkout without it compiles, and Bytes says what is missing.
package agentbin

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
)

// ErrMissing says that the server was built without its agent.
var ErrMissing = errors.New("this binary was built without the agent berth-init: run make build")

//go:embed bin
var files embed.FS

// Bytes returns the static executable of the agent, or ErrMissing. It may be called concurrently.
func Bytes() ([]byte, error) { return read(files) }

func read(from fs.FS) ([]byte, error) {
	agent, err := fs.ReadFile(from, "bin/berth-init")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrMissing
	}
	if err != nil {
		return nil, fmt.Errorf("read the embedded agent: %w", err)
	}
	return agent, nil
}

// Package api holds the contract of the server's HTTP API, written by hand in openapi.yaml: a test holds the server to it.
package api

import (
	_ "embed" // for the contract
	"encoding/json"
	"fmt"
	"sync"

	"go.yaml.in/yaml/v3"
)

//go:embed openapi.yaml
var contract []byte

// JSON returns the contract as JSON, the form that tools ask for. It is made once; do not change it.
func JSON() ([]byte, error) { return asJSON() }

var asJSON = sync.OnceValues(func() ([]byte, error) {
	var document map[string]any
	if err := yaml.Unmarshal(contract, &document); err != nil {
		return nil, fmt.Errorf("api: read the contract: %w", err)
	}
	text, err := json.Marshal(document)
	if err != nil {
		return nil, fmt.Errorf("api: write the contract as JSON: %w", err)
	}
	return text, nil
})

package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// maxActions bounds the file of actions, in bytes.
const maxActions = 1 << 20

// readActions returns the actions that the image offers; it has none without the file.
func readActions(root *rootfs) (map[string]agentapi.Action, error) {
	text, err := root.readUpTo(agentapi.ActionsFile, maxActions)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	actions, err := parseActions(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", agentapi.ActionsFile, err)
	}
	return actions, nil
}

// parseActions reads a file of actions, in both of its forms.
func parseActions(text []byte) (map[string]agentapi.Action, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	var inner map[string]json.RawMessage
	if json.Unmarshal(members["actions"], &inner) == nil { // else it is no object: an action cannot be meant either
		if actions := actionsOf(inner); len(actions) > 0 {
			return actions, nil
		}
	}
	return actionsOf(members), nil
}

// actionsOf returns the members that are actions.
func actionsOf(members map[string]json.RawMessage) map[string]agentapi.Action {
	actions := make(map[string]agentapi.Action)
	for name, text := range members {
		var action agentapi.Action
		if len(name) <= agentapi.MaxActionName && json.Unmarshal(text, &action) == nil && action.Args != "" {
			actions[name] = action
		}
	}
	return actions
}

package client

import (
	"context"
	"net/http"
)

const machinesPath = "/v1/machines"

// MachineType is a machine type as administrators define it. Machine is how the JARVICE API shows it to everybody.
type MachineType struct {
	// Name is [A-Za-z0-9._-].
	Name        string `json:"name"`
	Description string `json:"description"`
	Cores       int    `json:"cores"`
	// RAM is in MB of 1048576 bytes.
	RAM  int64 `json:"ram_mb"`
	GPUs int   `json:"gpus"`
	// ScratchMB bounds what a job may have in its containers and its ephemeral vault together, in MB of 1048576 bytes; 0 is what the server
	// gives to every job. Servers whose disk cannot bound it refuse others.
	ScratchMB int64 `json:"scratch_mb"`
	// ScaleMin and ScaleMax bound the number of nodes of one job.
	ScaleMin int `json:"scale_min"`
	ScaleMax int `json:"scale_max"`
	// GraceSeconds is how long a command may take to end after a shutdown; 0 is what the server gives to every job.
	GraceSeconds int `json:"grace_seconds"`
	// Personal machine types have one active job for each user.
	Personal bool `json:"personal"`
	// Price is for each node and hour.
	Price float64 `json:"price"`
	// Position orders the machine types in listings, smallest first.
	Position int `json:"position"`
}

// MachineTypes lists the machine types in their order.
func (c *Client) MachineTypes(ctx context.Context) ([]MachineType, error) {
	var answer struct {
		Machines []MachineType `json:"machines"`
	}
	_, err := c.get(ctx, machinesPath, nil, &answer)
	return answer.Machines, err
}

// SetMachine makes a machine type, or gives all its values to one that is there. Jobs that were submitted keep what they have.
func (c *Client) SetMachine(ctx context.Context, machine MachineType) (MachineType, error) {
	body := struct {
		MachineType
		Name struct{} `json:"name,omitzero"` // it is in the path
	}{MachineType: machine}
	var answer struct {
		Machine MachineType `json:"machine"`
	}
	_, err := c.send(ctx, call{method: http.MethodPut, path: machinesPath, under: []string{machine.Name}}, body, &answer)
	return answer.Machine, err
}

// RemoveMachine removes a machine type: no job can ask for it any more.
func (c *Client) RemoveMachine(ctx context.Context, name string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: machinesPath, under: []string{name}})
	return err
}

package client

import (
	"cmp"
	"context"
	"encoding/json"
	"net/url"
	"slices"
)

// Machine is a machine type: the size of each node of a job.
type Machine struct {
	Name        string `json:"mc_name"`
	Description string `json:"mc_description"`
	Cores       int    `json:"mc_cores"`
	GPUs        int    `json:"mc_gpus"`
	// RAM is in GB.
	RAM int `json:"mc_ram"`
	// ScaleMin and ScaleMax bound the number of nodes of one job.
	ScaleMin int     `json:"mc_scale_min"`
	ScaleMax int     `json:"mc_scale_max"`
	Price    float64 `json:"mc_price"`
	// Raw is the server's entry.
	Raw json.RawMessage `json:"-"`
}

// Machines lists the machine types from small to large. A name selects one; empty is all.
func (c *Client) Machines(ctx context.Context, name string) ([]Machine, error) {
	query := url.Values{}
	if name != "" {
		query.Set("name", name)
	}
	var answer map[string]json.RawMessage
	if _, err := c.get(ctx, "/jarvice/machines", query, &answer); err != nil {
		return nil, err
	}
	machines := make([]Machine, 0, len(answer))
	for key, raw := range answer {
		machine := Machine{}
		if err := json.Unmarshal(raw, &machine); err != nil {
			return nil, err
		}
		machine.Name, machine.Raw = cmp.Or(machine.Name, key), raw
		machines = append(machines, machine)
	}
	slices.SortFunc(machines, func(a, b Machine) int {
		return cmp.Or(cmp.Compare(a.Cores, b.Cores), cmp.Compare(a.RAM, b.RAM), cmp.Compare(a.Name, b.Name))
	})
	return machines, nil
}

// Live returns nil when the server answers at all. It needs no credentials.
func (c *Client) Live(ctx context.Context) error { return c.health(ctx, "/jarvice/live") }

// Ready returns nil when the server can do its work. It needs no credentials.
func (c *Client) Ready(ctx context.Context) error { return c.health(ctx, "/jarvice/ready") }

func (c *Client) health(ctx context.Context, path string) error {
	var answer struct {
		Status string `json:"status"`
	}
	_, err := c.get(ctx, path, url.Values{}, &answer)
	return err
}

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) machinesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "machines [NAME]",
		Short: "List the machine types that jobs can ask for",
		Args:  atMostOne("machine type"),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			name := ""
			if len(args) > 0 {
				name = args[0]
			}
			machines, err := c.Machines(ctx, name)
			if err != nil {
				return err
			}
			if a.flags.json {
				object := map[string]json.RawMessage{}
				for _, m := range machines {
					object[m.Name] = m.Raw
				}
				return a.printJSON(object)
			}
			return a.printMachines(machines)
		}),
	}
}

func (a *app) printMachines(machines []client.Machine) error {
	rows := [][]string{{"NAME", "CORES", "RAM", "GPUS", "NODES", "DESCRIPTION"}}
	for _, m := range machines {
		rows = append(rows, []string{
			m.Name, strconv.Itoa(m.Cores), fmt.Sprintf("%d GB", m.RAM), strconv.Itoa(m.GPUs), scale(m.ScaleMin, m.ScaleMax), m.Description,
		})
	}
	return table(a.stdout, rows)
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program",
		Args:  cobra.NoArgs,
		RunE: a.runE(func(context.Context, []string) error {
			if a.flags.json {
				return a.printJSON(map[string]string{"version": a.version})
			}
			a.say("berth %s", a.version)
			return nil
		}),
	}
}

package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

func (a *app) machineListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the machine types with all that administrators say about them",
		Args:  cobra.NoArgs,
		RunE: a.withClient(func(ctx context.Context, c *client.Client, _ []string) error {
			machines, err := c.MachineTypes(ctx)
			if err != nil {
				return err
			}
			if a.flags.json {
				return a.printJSON(map[string][]client.MachineType{"machines": machines})
			}
			rows := [][]string{{"NAME", "CORES", "MEMORY", "GPUS", "NODES", "GRACE", "PERSONAL", "PRICE", "POSITION", "DESCRIPTION"}}
			for _, m := range machines {
				rows = append(rows, []string{
					m.Name, strconv.Itoa(m.Cores), memory(m.RAM << 20), strconv.Itoa(m.GPUs), scale(m.ScaleMin, m.ScaleMax), grace(m.GraceSeconds),
					yes(m.Personal), decimal(m.Price), strconv.Itoa(m.Position), m.Description,
				})
			}
			return table(a.stdout, rows)
		}),
	}
}

// scale shows how many nodes a job may have.
func scale(least, most int) string {
	if least == most {
		return strconv.Itoa(least)
	}
	return fmt.Sprintf("%d-%d", least, most)
}

// grace shows a machine type's own time to end, "" when it is the server's.
func grace(seconds int) string {
	if seconds == 0 {
		return ""
	}
	return (time.Duration(seconds) * time.Second).String()
}

func yes(is bool) string {
	if is {
		return "yes"
	}
	return ""
}

// machineFlags are the values of a machine type, as a person gives them.
type machineFlags struct {
	client.MachineType
	memory string
	grace  time.Duration
}

func (f *machineFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.IntVar(&f.Cores, "cores", 0, "CPU cores of each node")
	flags.StringVar(&f.memory, "memory", "", "memory of each node: GiB, or with a unit, such as 512MB (1 GB is 1024 MB)")
	flags.IntVar(&f.GPUs, "gpus", 0, "GPUs of each node")
	flags.IntVar(&f.ScaleMin, "scale-min", 1, "least number of nodes of a job")
	flags.IntVar(&f.ScaleMax, "scale-max", 1, "greatest number of nodes of a job")
	flags.DurationVar(&f.grace, "grace", 0, "time that a command has to end after a shutdown, such as 10s; 0s is the server's")
	flags.BoolVar(&f.Personal, "personal", false, "each user may have one active job on it")
	flags.Float64Var(&f.Price, "price", 0, "price of each node and hour")
	flags.IntVar(&f.Position, "position", 0, "place in listings, smallest first (default the last)")
	flags.StringVar(&f.Description, "description", "", "text for people")
}

// check finds what cannot be meant, and reads the values that are no plain numbers.
func (f *machineFlags) check() error {
	if f.memory != "" {
		megabytes, err := parseMegabytes("--memory", f.memory)
		if err != nil {
			return err
		}
		f.RAM = megabytes
	}
	if f.grace < 0 || f.grace%time.Second != 0 {
		return usagef("--grace %s is no whole number of seconds", f.grace)
	}
	f.GraceSeconds = int(f.grace / time.Second)
	return nil
}

// parseMegabytes reads the size of a flag and returns it in MB of 1048576 bytes.
func parseMegabytes(flag, text string) (int64, error) {
	number := strings.TrimRight(text, "BIMGTbimgt ")
	unit := strings.ToUpper(strings.TrimSpace(text[len(number):]))
	factor := map[string]float64{
		"": 1 << 10, "M": 1, "MB": 1, "MIB": 1, "G": 1 << 10, "GB": 1 << 10, "GIB": 1 << 10, "T": 1 << 20, "TB": 1 << 20, "TIB": 1 << 20,
	}[unit]
	amount, err := strconv.ParseFloat(number, 64)
	megabytes := amount * factor
	if err != nil || megabytes < 1 || megabytes > math.MaxInt32 || megabytes != math.Trunc(megabytes) {
		return 0, usagef("%s %q is no whole number of MB: give GiB, such as 4 or 1.5, or a unit, such as 512MB", flag, text)
	}
	return int64(megabytes), nil
}

// onto changes a machine type to what was given.
func (f *machineFlags) onto(m *client.MachineType, is func(flag string) bool) {
	set(&m.Cores, f.Cores, is("cores"))
	set(&m.RAM, f.RAM, is("memory"))
	set(&m.GPUs, f.GPUs, is("gpus"))
	set(&m.ScaleMin, f.ScaleMin, is("scale-min"))
	set(&m.ScaleMax, f.ScaleMax, is("scale-max"))
	set(&m.GraceSeconds, f.GraceSeconds, is("grace"))
	set(&m.Personal, f.Personal, is("personal"))
	set(&m.Price, f.Price, is("price"))
	set(&m.Position, f.Position, is("position"))
	set(&m.Description, f.Description, is("description"))
}

func set[T any](to *T, value T, given bool) {
	if given {
		*to = value
	}
}

func (a *app) machineSetCommand() *cobra.Command {
	var f machineFlags
	cmd := &cobra.Command{
		Use:   "set NAME",
		Short: "Make a machine type, or change what is given of one that is there",
		Example: `  berth admin machine set big --cores 16 --memory 64 --description 'half of the machine'
  berth admin machine set big --grace 30s --personal=false`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := words("the NAME of the machine type")(cmd, args); err != nil {
				return err
			}
			return f.check()
		},
		ValidArgsFunction: positions(a.completeMachines()),
	}
	f.register(cmd)
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
		machines, err := c.MachineTypes(ctx)
		if err != nil {
			return err
		}
		given := cmd.Flags().Changed
		machine := newMachine(args[0], machines)
		if at := slices.IndexFunc(machines, func(m client.MachineType) bool { return m.Name == args[0] }); at >= 0 {
			machine = machines[at]
		} else if !given("cores") || !given("memory") {
			return usagef("machine type %s is not there; to make it give --cores and --memory", args[0])
		}
		f.onto(&machine, given)
		machine, err = c.SetMachine(ctx, machine)
		if err != nil {
			return about("machine type", args[0], err)
		}
		return a.done(map[string]client.MachineType{"machine": machine}, "machine type %s set", args[0])
	})
	return cmd
}

// newMachine is a machine type for jobs of one node that comes after all others.
func newMachine(name string, others []client.MachineType) client.MachineType {
	m := client.MachineType{Name: name, ScaleMin: 1, ScaleMax: 1}
	for _, other := range others {
		m.Position = max(m.Position, other.Position+1)
	}
	return m
}

func (a *app) machineRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:               "remove NAME",
		Short:             "Remove a machine type: no job can ask for it any more",
		Args:              words("the NAME of the machine type"),
		ValidArgsFunction: positions(a.completeMachines()),
		RunE: a.withClient(func(ctx context.Context, c *client.Client, args []string) error {
			if err := c.RemoveMachine(ctx, args[0]); err != nil {
				return about("machine type", args[0], err)
			}
			return a.removed("machine type", args[0])
		}),
	}
}

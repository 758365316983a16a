package berth

import "time"

// Machine is a machine type: the size of each node of a job.
type Machine struct {
	// Name is what a submission asks for, for example n0. Unique.
	Name        string
	Description string
	// Cores is the number of CPU cores of each node, at least 1.
	Cores int
	// RAM is the memory limit of each node in bytes.
	RAM int64
	// GPUs is the number of GPUs of each node.
	GPUs int
	// ScaleMin and ScaleMax bound the number of nodes of one job, both included.
	ScaleMin, ScaleMax int
	// Grace is how long a command may take to end after a shutdown; 0 is what the server gives to every job.
	Grace time.Duration
	// Personal machine types have one active job for each user: another submission is refused.
	Personal bool
	// Price is in units of the site's choice for each node and hour.
	Price float64
	// Position orders the machine types in listings, smallest first.
	Position int
}

// Capacity is what a host, or all of them together, has for jobs.
type Capacity struct {
	// Cores is the number of CPU cores.
	Cores int
	// RAM is in bytes.
	RAM int64
	// GPUs is the number of GPUs.
	GPUs int
	// Slots is the number of nodes (containers) that may be there at once, whatever their size.
	Slots int
}

// Fits says whether need fits into c.
func (c Capacity) Fits(need Capacity) bool {
	return need.Cores <= c.Cores && need.RAM <= c.RAM && need.GPUs <= c.GPUs && need.Slots <= c.Slots
}

// Minus returns what is left of c when used is taken away. It can be negative.
func (c Capacity) Minus(used Capacity) Capacity {
	return Capacity{Cores: c.Cores - used.Cores, RAM: c.RAM - used.RAM, GPUs: c.GPUs - used.GPUs, Slots: c.Slots - used.Slots}
}

// Times returns n times c.
func (c Capacity) Times(n int) Capacity {
	return Capacity{Cores: c.Cores * n, RAM: c.RAM * int64(n), GPUs: c.GPUs * n, Slots: c.Slots * n}
}

// Host is a machine that jobs can be placed on.
type Host struct {
	// Name is unique among the hosts of a server.
	Name string
	// Capacity is what it has for jobs, used or not.
	Capacity Capacity
}

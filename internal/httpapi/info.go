package httpapi

import (
	"cmp"
	"net/http"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
	"github.com/berth-hpc/berth/internal/screenshot"
)

// infoAnswer is what a running job says about itself. What this server has not is null, as clients expect it.
type infoAnswer struct {
	URL      *string               `json:"url"`
	About    *string               `json:"about"`
	Help     *string               `json:"help"`
	Address  *string               `json:"address"`
	Password *string               `json:"password"`
	Actions  map[string]actionInfo `json:"actions"`
}

type actionInfo struct {
	Alt string `json:"alt"`
}

// info is also how clients see that a job runs: it is refused before.
func (s *server) info(c *call, caller berth.Caller, ref control.JobRef) error {
	info, err := s.control.Info(c.r.Context(), caller, ref)
	if err != nil {
		return err
	}
	answer := infoAnswer{URL: info.URL, Help: info.Help, Actions: make(map[string]actionInfo, len(info.Actions))}
	answer.Address = orNull(info.Address)
	for name, alt := range info.Actions {
		answer.Actions[name] = actionInfo{alt}
	}
	return c.writeJSON(answer)
}

// connection is how people reach what runs in a job.
type connection struct {
	Address  *string `json:"address"`
	Password *string `json:"password"`
}

func (s *server) connect(c *call, caller berth.Caller, ref control.JobRef) error {
	found, err := s.control.Connect(c.r.Context(), caller, ref)
	if err != nil {
		return err
	}
	return c.writeJSON(connection{orNull(found.Address), orNull(found.Password)})
}

const contentPNG = "image/png"

// screenshot answers a picture of the desktop of a running job.
func (s *server) screenshot(c *call) error {
	p, err := c.parameters()
	if err != nil {
		return err
	}
	width, errWidth := p.signed("width", 0)
	height, errHeight := p.signed("height", 0)
	if err := cmp.Or(errWidth, errHeight); err != nil {
		return err
	}
	caller, ref, err := s.jobRequest(c, p)
	if err != nil {
		return err
	}
	picture, err := s.control.Screenshot(c.r.Context(), caller, ref, screenshot.Size{Width: width, Height: height, Emphatic: p.flag("emphatic")})
	if err != nil {
		return err
	}
	c.write(http.StatusOK, contentPNG, picture)
	return nil
}

// orNull returns nil for an empty text, which clients show as nothing.
func orNull(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// metricsAnswer has whole numbers only: real clients refuse fractions. Memory is in KB.
type metricsAnswer struct {
	Summary struct {
		CPUUsed     int   `json:"cpu_used"`
		MemoryUsed  int64 `json:"memory_used"`
		MemoryTotal int64 `json:"memory_total"`
	} `json:"summary"`
	Itemized struct {
		CPUUsed     []int   `json:"cpu_used"`
		MemoryUsed  []int64 `json:"memory_used"`
		MemoryTotal []int64 `json:"memory_total"`
	} `json:"itemized"`
}

func newMetricsAnswer(nodes []control.NodeMetrics) metricsAnswer {
	var answer metricsAnswer
	sum, items := &answer.Summary, &answer.Itemized
	items.CPUUsed, items.MemoryUsed, items.MemoryTotal = []int{}, []int64{}, []int64{}
	for _, n := range nodes {
		used, total := n.MemoryUsed>>10, n.MemoryTotal>>10
		items.CPUUsed = append(items.CPUUsed, n.CPU)
		items.MemoryUsed = append(items.MemoryUsed, used)
		items.MemoryTotal = append(items.MemoryTotal, total)
		sum.CPUUsed += n.CPU
		sum.MemoryUsed += used
		sum.MemoryTotal += total
	}
	if count := len(nodes); count > 0 {
		sum.CPUUsed = (sum.CPUUsed + count/2) / count
	}
	return answer
}

// jobMetrics answers what a running job uses, in all and for each node.
func (s *server) jobMetrics(c *call, caller berth.Caller, ref control.JobRef) error {
	metrics, err := s.control.Metrics(c.r.Context(), caller, ref)
	if err != nil {
		return err
	}
	return c.writeJSON(newMetricsAnswer(metrics.Nodes))
}

// nodesAnswer is what the nodes of a job use, memory in bytes.
type nodesAnswer struct {
	Nodes []nodeAnswer `json:"nodes"`
}

type nodeAnswer struct {
	CPU         int       `json:"cpu_percent"`
	MemoryUsed  int64     `json:"memory_used"`
	MemoryTotal int64     `json:"memory_total"`
	Sampled     time.Time `json:"sampled,omitzero"`
}

func (s *server) nodeMetrics(c *call, caller berth.Caller, _ params) error {
	number, err := c.jobNumber()
	if err != nil {
		return err
	}
	metrics, err := s.control.Metrics(c.r.Context(), caller, control.JobRef{Number: number})
	if err != nil {
		return err
	}
	return c.writeJSON(nodesAnswer{each(metrics.Nodes, func(n control.NodeMetrics) nodeAnswer { return nodeAnswer(n) })})
}

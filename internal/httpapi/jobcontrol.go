package httpapi

import (
	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// shutdown and terminate carry out a wish for a job's end. When they answer 200 the wish is on disk.
func (s *server) shutdown(c *call, caller berth.Caller, ref control.JobRef) error {
	if err := s.control.Shutdown(c.r.Context(), caller, ref); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: "shutdown requested"})
}

func (s *server) terminate(c *call, caller berth.Caller, ref control.JobRef) error {
	if err := s.control.Terminate(c.r.Context(), caller, ref); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: "terminated"})
}

// signaledAnswer tells which process got which signal.
type signaledAnswer struct {
	Signal int `json:"signal"`
	PID    int `json:"pid"`
}

// signal sends a signal to the application of a running job.
func (s *server) signal(c *call) error {
	p, err := c.parameters()
	if err != nil {
		return err
	}
	number, err := p.signed("signal", berth.SignalSuspend)
	if err != nil {
		return err
	}
	caller, ref, err := s.jobRequest(c, p)
	if err != nil {
		return err
	}
	done, err := s.control.Signal(c.r.Context(), caller, ref, number)
	if err != nil {
		return err
	}
	return c.writeJSON(signaledAnswer(done))
}

// action starts something that the application of a running job offers. It goes on after the answer.
func (s *server) action(c *call) error {
	p, err := c.parameters()
	if err != nil {
		return err
	}
	caller, ref, err := s.jobRequest(c, p, "action")
	if err != nil {
		return err
	}
	if err := s.control.Action(c.r.Context(), caller, ref, p.text("action")); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: "action requested"})
}

package httpapi

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-hpc/berth"
)

// gate bounds how many requests of a kind are there at a time.
type gate struct {
	kind    string
	places  chan struct{} // holds a value for each place that is taken
	refused prometheus.Counter
}

func newGate(kind string, places int) *gate {
	return &gate{
		kind: kind, places: make(chan struct{}, places),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "berth_http_refused_total", Help: "Requests that were refused because too many were there.",
			ConstLabels: prometheus.Labels{"kind": kind},
		}),
	}
}

// enter takes a place. With patience it waits for one; it is Unavailable when none comes.
func (g *gate) enter(ctx context.Context, patience time.Duration) error {
	select {
	case g.places <- struct{}{}:
		return nil
	default:
	}
	if patience > 0 {
		turn := time.NewTimer(patience)
		defer turn.Stop()
		select {
		case g.places <- struct{}{}:
			return nil
		case <-turn.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	g.refused.Inc()
	return &berth.Error{Kind: berth.Unavailable, Msg: msgBusy, Detail: "too many " + g.kind + " at a time, try again"}
}

func (g *gate) leave() { <-g.places }

// taken is how many places are.
func (g *gate) taken() float64 { return float64(len(g.places)) }

// handle works on a request when it has a place. Nobody is refused who asks whether the server lives.
func (s *server) handle(ctx context.Context, c *call) error {
	if !c.route.vital {
		if err := s.ordinary.enter(ctx, s.cfg.Patience); err != nil {
			return err
		}
		c.place = s.ordinary
	}
	return c.route.handle(c)
}

// linger is called before a request begins to take as long as it likes: it gives its place to others and takes one among the
// streams. The deadline of the server is for answers that come at once.
func (s *server) linger(c *call) error {
	if err := s.streams.enter(c.r.Context(), 0); err != nil {
		return err
	}
	c.leave()
	c.place = s.streams
	c.clearWriteDeadline()
	return nil
}

// leave gives the place of a request back.
func (c *call) leave() {
	if c.place != nil {
		c.place.leave()
		c.place = nil
	}
}

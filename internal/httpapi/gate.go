package httpapi

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-hpc/berth"
)

// sharePart is the part of the places that one user may have: one of so many.
const sharePart = 8

// gate bounds how many requests of a kind are there at a time, and how many of them one user has.
type gate struct {
	kind    string
	places  chan struct{} // holds a value for each place that is taken
	refused prometheus.Counter

	mu    sync.Mutex
	users map[string]*share
}

// share is the part of one user.
type share struct {
	places chan struct{}
	inside int // how many have a place or wait for one
}

func newGate(kind string, places int) *gate {
	return &gate{
		kind: kind, places: make(chan struct{}, places), users: make(map[string]*share),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "berth_http_refused_total", Help: "Requests that were refused because too many were there.",
			ConstLabels: prometheus.Labels{"kind": kind},
		}),
	}
}

// enter takes a place. With patience it waits for one; it is Unavailable when none comes.
func (g *gate) enter(ctx context.Context, patience time.Duration) error {
	if took, err := take(ctx, g.places, patience); took || err != nil {
		return err
	}
	g.refused.Inc()
	return busy("too many " + g.kind + " at a time, try again")
}

// admit lets a user have one more place, which is to be taken by enter. With patience it waits until one of the user's others is
// given back; it is LimitReached when none is. Call release when the place is given back.
func (g *gate) admit(ctx context.Context, user string, patience time.Duration) (release func(), err error) {
	mine := g.join(user)
	took, err := take(ctx, mine.places, patience)
	if took {
		return func() {
			<-mine.places
			g.part(user, mine)
		}, nil
	}
	g.part(user, mine)
	if err != nil {
		return nil, err
	}
	return nil, &berth.Error{
		Kind: berth.LimitReached, Msg: msgTooMany,
		Detail: fmt.Sprintf("one user may have %d %s at a time", cap(mine.places), g.kind),
	}
}

func (g *gate) join(user string) *share {
	g.mu.Lock()
	defer g.mu.Unlock()
	mine := g.users[user]
	if mine == nil {
		mine = &share{places: make(chan struct{}, max(1, cap(g.places)/sharePart))}
		g.users[user] = mine
	}
	mine.inside++
	return mine
}

func (g *gate) part(user string, mine *share) {
	g.mu.Lock()
	defer g.mu.Unlock()
	mine.inside--
	if mine.inside == 0 {
		delete(g.users, user)
	}
}

func (g *gate) leave() { <-g.places }

// taken is how many places are.
func (g *gate) taken() float64 { return float64(len(g.places)) }

// take takes one of the places, and says whether one came in time. The error is that of ctx.
func take(ctx context.Context, places chan<- struct{}, patience time.Duration) (took bool, err error) {
	select {
	case places <- struct{}{}:
		return true, nil
	default:
	}
	if patience <= 0 {
		return false, nil
	}
	turn := time.NewTimer(patience)
	defer turn.Stop()
	select {
	case places <- struct{}{}:
		return true, nil
	case <-turn.C:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func busy(detail string) error {
	return &berth.Error{Kind: berth.Unavailable, Msg: msgBusy, Detail: detail}
}

// handle works on a request when it has a place. One with a body gets it when the body is there, or who asks is looked up: a client
// that only says that it will send something keeps nobody out. Nobody is refused who asks whether the server lives.
func (s *server) handle(ctx context.Context, c *call) error {
	if !c.route.vital && !c.hasBody() {
		if err := s.enter(ctx, c); err != nil {
			return err
		}
	}
	return c.route.handle(c)
}

// enter gives a request a place among the ordinary ones, unless it has one; once it is known who asks it is one of the user's. A
// user who has all of them waits without a place.
func (s *server) enter(ctx context.Context, c *call) error {
	if c.user != "" && c.share == nil {
		release, err := s.ordinary.admit(ctx, c.user, s.cfg.Patience)
		if err != nil {
			s.ordinary.refused.Inc()
			return err
		}
		c.share = release
	}
	if c.place != nil {
		return nil
	}
	if err := s.ordinary.enter(ctx, s.cfg.Patience); err != nil {
		return err
	}
	c.place = s.ordinary
	return nil
}

// claim makes the place of a request one of the user who asks.
func (s *server) claim(c *call, user string) error {
	c.user = user
	release, err := s.ordinary.admit(c.r.Context(), user, 0)
	if err != nil {
		c.stepAside()
		return s.enter(c.r.Context(), c)
	}
	c.share = release
	return nil
}

// linger is called before a request begins to take as long as it likes: it gives its place to others and takes one among the
// streams. The deadline of the server is for answers that come at once.
func (s *server) linger(c *call) error {
	release, err := s.streams.admit(c.r.Context(), c.user, 0)
	if err != nil {
		s.streams.refused.Inc()
		return err
	}
	if err := s.streams.enter(c.r.Context(), 0); err != nil {
		release()
		return err
	}
	c.leave()
	c.place, c.share = s.streams, release
	c.clearWriteDeadline()
	return nil
}

// stepAside gives the place of a request back.
func (c *call) stepAside() {
	if c.place != nil {
		c.place.leave()
		c.place = nil
	}
	if c.share != nil {
		c.share()
		c.share = nil
	}
}

// leave gives everything back that others may wait for: the place, and the memory that the body has.
func (c *call) leave() {
	c.stepAside()
	if c.held > 0 {
		c.server.bodies.Release(c.held)
		c.held = 0
	}
}

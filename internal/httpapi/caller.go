package httpapi

import (
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// credentials are what a request says about who asks.
type credentials struct {
	username, apikey string
	// bearer says that the key came as a bearer token, which needs no username.
	bearer bool
}

// credentials returns those of the parameters, or else the bearer token.
func (c *call) credentials(p params) credentials {
	return c.withBearer(credentials{username: p.text("username"), apikey: p.text("apikey")})
}

func (c *call) withBearer(cred credentials) credentials {
	if cred.apikey != "" {
		return cred
	}
	scheme, token, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	if strings.EqualFold(scheme, "Bearer") {
		cred.apikey = strings.TrimSpace(token)
		cred.bearer = cred.apikey != ""
	}
	return cred
}

// authenticate returns who asks. What is missing, the required parameters included, is told apart from what is wrong.
func (s *server) authenticate(c *call, p params, required ...string) (berth.Caller, error) {
	cred := c.credentials(p)
	switch {
	case cred.username == "" && !cred.bearer:
		return berth.Caller{}, &berth.Error{Kind: berth.Invalid, Msg: msgUserRequired}
	case cred.apikey == "":
		return berth.Caller{}, &berth.Error{Kind: berth.Invalid, Msg: msgMissing}
	}
	for _, name := range required {
		if p.text(name) == "" {
			return berth.Caller{}, &berth.Error{Kind: berth.Invalid, Msg: msgMissing, Detail: name}
		}
	}
	return s.verify(c, cred)
}

// verify asks control whether the credentials are right. All refusals have the same text.
func (s *server) verify(c *call, cred credentials) (berth.Caller, error) {
	refused := &berth.Error{Kind: berth.Unauthenticated, Msg: c.route.texts.unauthorized}
	if !plainWord(cred.username) {
		return berth.Caller{}, refused
	}
	if err := s.enter(c.r.Context(), c); err != nil {
		return berth.Caller{}, err
	}
	caller, err := s.control.Authenticate(c.r.Context(), cred.username, cred.apikey, c.from())
	if berth.KindOf(err) == berth.Unauthenticated {
		refused.Err = err
		return berth.Caller{}, refused
	}
	if err != nil {
		return berth.Caller{}, err
	}
	return caller, s.claim(c, caller.User.Name)
}

// from is the address that the request came from, as the connection tells it, and a trusted proxy: what else headers say can be
// invented. Each proxy adds the address that it was called from, so the last one that is no trusted proxy's is known to be true.
func (c *call) from() string {
	host, _, err := net.SplitHostPort(c.r.RemoteAddr)
	if err != nil {
		host = c.r.RemoteAddr
	}
	if len(c.server.cfg.TrustedProxies) == 0 {
		return host
	}
	hops := strings.Split(strings.Join(c.r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		if !c.server.trusts(host) {
			break
		}
		addr, err := netip.ParseAddr(strings.TrimSpace(hop))
		if err != nil {
			break // the proxy itself is all that is known
		}
		host = addr.Unmap().String()
	}
	return host
}

// trusts says whether an address is that of a trusted proxy.
func (s *server) trusts(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && slices.ContainsFunc(s.cfg.TrustedProxies, func(network netip.Prefix) bool {
		return network.Contains(addr.Unmap().WithZone(""))
	})
}

// plainWord says whether a name has only characters that user names may have. Names with others cannot exist.
func plainWord(name string) bool {
	for i := range len(name) {
		switch b := name[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '.':
		default:
			return false
		}
	}
	return true
}

// The handlers of routes that know who asks: with parameters, or for one job and nothing else. Whoever is not who they say does not get there.
type (
	handler    func(c *call, caller berth.Caller, p params) error
	jobHandler func(c *call, caller berth.Caller, ref control.JobRef) error
)

// byQuery authenticates a request whose body is not parameters.
func (s *server) byQuery(handle handler) func(*call) error {
	return s.authenticated((*call).queryParameters, handle)
}

// byParameters authenticates a request that has nothing but parameters, some of which it must have.
func (s *server) byParameters(handle handler, required ...string) func(*call) error {
	return s.authenticated((*call).parameters, handle, required...)
}

func (s *server) authenticated(read func(*call) (params, error), handle handler, required ...string) func(*call) error {
	return func(c *call) error {
		p, err := read(c)
		if err != nil {
			return err
		}
		caller, err := s.authenticate(c, p, required...)
		if err != nil {
			return err
		}
		return handle(c, caller, p)
	}
}

// byJob authenticates a request that says nothing but who asks and for which job.
func (s *server) byJob(handle jobHandler) func(*call) error {
	return func(c *call) error {
		p, err := c.parameters()
		if err != nil {
			return err
		}
		caller, ref, err := s.jobRequest(c, p)
		if err != nil {
			return err
		}
		return handle(c, caller, ref)
	}
}

// jobRequest reads and checks what all operations on one job have in common, in the order that clients know.
func (s *server) jobRequest(c *call, p params, required ...string) (berth.Caller, control.JobRef, error) {
	number, err := p.integer("number", 0)
	if err != nil {
		return berth.Caller{}, control.JobRef{}, err
	}
	ref := control.JobRef{Name: p.text("name"), Number: number}
	caller, err := s.authenticate(c, p, required...)
	if err != nil {
		return berth.Caller{}, control.JobRef{}, err
	}
	if ref == (control.JobRef{}) {
		if p.text("number") != "" {
			return caller, ref, &berth.Error{Kind: berth.NotFound, Msg: msgNotFound} // there is no job 0
		}
		return caller, ref, &berth.Error{Kind: berth.Invalid, Msg: msgNoJob}
	}
	return caller, ref, nil
}

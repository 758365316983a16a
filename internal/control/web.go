package control

import (
	"context"
	"crypto/subtle"
	"net/netip"
	"slices"
	"strconv"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
)

const maxPort = 1<<16 - 1

// Visitor is who wants to see the web page of a job. Any one of the three is enough.
type Visitor struct {
	// Caller holds an API key; the zero value has none.
	Caller berth.Caller
	// Token is the job's own or its password, as the address that Info gives holds it.
	Token string
	// Sessions are what the browser says that earlier visits were given. There can be ones that another host has slipped in.
	Sessions []string
	// From is the network address of the request, for the audit log; may be empty.
	From string
}

// WebPage is where a job serves its web page.
type WebPage struct {
	Address netip.AddrPort
	// Encrypted says that the page is served by TLS, or is said to be.
	Encrypted bool
	// BasePath is the path under which the job knows its page, without slashes around it; empty for the root.
	BasePath string
	// Session lets the visitor in again until the job ends; empty for a job that has no secret.
	Session string
}

// WebPage returns where a running job serves a port, or its web page for port 0, to whoever may act on the job or holds its token.
// Unauthenticated for others, also when there is no such job; NotFound when the visitor may, and it does not run or serves no such port.
func (s *Service) WebPage(ctx context.Context, visitor Visitor, number int64, port int) (WebPage, error) {
	job, run, err := s.admit(ctx, visitor, number)
	switch {
	case err != nil:
		return WebPage{}, err
	case !runs(job):
		return WebPage{}, errNotRunning
	}
	at, err := s.webs.get(job.Attempt, s.cfg.Now(), func() (webAddress, error) {
		answer, err := s.ask(ctx, job, agentapi.Request{Info: &agentapi.InfoRequest{}})
		if err != nil {
			return webAddress{}, unanswered(err, msgNoAnswer)
		}
		return webAddress{host: answer.Info.Address, template: templateOf(run, answer.Info)}, nil
	})
	if err != nil {
		return WebPage{}, err
	}
	var web webService
	if run.Interactive {
		web = serviceOf(at.template)
	}
	if port != 0 && port != web.port {
		web.encrypted = port == 443 || port == 8443
	} else {
		port = web.port
	}
	if !serves(run, web, port) {
		return WebPage{}, &berth.Error{Kind: berth.NotFound, Msg: "The job serves no such port", Detail: strconv.Itoa(port)}
	}
	// The job says its address: it must be none of this machine's own.
	address, err := netip.ParseAddr(at.host)
	if err != nil || address.IsLoopback() || !address.IsGlobalUnicast() {
		return WebPage{}, &berth.Error{Kind: berth.Unavailable, Msg: "The job has no network"}
	}
	return WebPage{
		Address: netip.AddrPortFrom(address, uint16(port)), Encrypted: web.encrypted, //nolint:gosec // serves has looked at it
		BasePath: run.BasePath, Session: sessionOf(run),
	}, nil
}

// webAddress is what a job says about its web page: its IP address, and the template of where the page is.
type webAddress struct{ host, template string }

// serves says whether a port of a job may be reached.
func serves(run berth.Run, web webService, port int) bool {
	ports := run.Ports
	if ports == nil {
		ports = berth.UsualPorts()
	}
	return port > 0 && port <= maxPort && (port == web.port || slices.Contains(ports, berth.Port{Number: port, Protocol: "tcp"}))
}

// admit returns a job and what it runs when the visitor may see its web page.
func (s *Service) admit(ctx context.Context, visitor Visitor, number int64) (berth.Job, berth.Run, error) {
	if visitor.Caller.User.Name != "" {
		if visitor.Caller.Job != 0 && visitor.Caller.Job != number {
			return berth.Job{}, berth.Run{}, errNotByToken
		}
		job, err := s.controllable(ctx, visitor.Caller, JobRef{Number: number})
		if err != nil {
			return job, berth.Run{}, err
		}
		run, _, err := s.cfg.Store.Run(ctx, number)
		return job, run.Numbered(number), err
	}
	refused := &berth.Error{Kind: berth.Unauthenticated, Msg: "Unauthorized"}
	if visitor.Token == "" && len(visitor.Sessions) == 0 {
		return berth.Job{}, berth.Run{}, refused
	}
	run, found, err := s.cfg.Store.Run(ctx, number)
	switch {
	case err != nil:
		return berth.Job{}, run, err
	case !found || !holds(visitor, run):
		return berth.Job{}, run, refused
	}
	job, err := s.find(ctx, JobRef{Number: number})
	return job, run.Numbered(number), err
}

// holds says whether a visitor knows a secret of the job. All of them are random with 70 bits or more: there is nothing to guess.
func holds(visitor Visitor, run berth.Run) bool {
	session := sessionOf(run)
	if session != "" && slices.ContainsFunc(visitor.Sessions, func(sent string) bool { return same(sent, session) }) {
		return true
	}
	random := run.Random[:min(tokenLength, len(run.Random))]
	return random != "" && (same(visitor.Token, random) || same(visitor.Token, run.Random)) ||
		run.Password != "" && same(visitor.Token, run.Password)
}

// sessionOf follows from a secret of the job, so that it holds after a restart of the server, and tells nothing about it.
func sessionOf(run berth.Run) string {
	if run.Random == "" {
		return ""
	}
	return HashKey("session " + run.Random)
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }

package reconcile

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/image"
)

// errNoAddress says that a job has to wait until another one gives its public address back.
var errNoAddress = errors.New("every public address is in use")

// sshPort is where clients look for ssh. The agents of a job serve it at agentapi.SSHPort.
const sshPort = 22

// promises are the public addresses of attempts that the engine may not have yet. The zero value is ready to use.
type promises struct {
	mu sync.Mutex
	// attempts are by address.
	attempts map[string]string
}

func (p *promises) forget(attempt string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for address, owner := range p.attempts {
		if owner == attempt {
			delete(p.attempts, address)
		}
	}
}

// publicAddress returns the address at which a job is to be reached from outside; empty when it asks for none, or when there is none
// for its owner. The same job gets the same one until its end, and no other gets it. The error is errNoAddress when all are in use,
// and wraps engine.ErrRefused when the one that was asked for is.
func (r *Reconciler) publicAddress(ctx context.Context, job berth.Job) (string, error) {
	if !job.Submission.PublicIP {
		return "", nil
	}
	r.promises.mu.Lock()
	defer r.promises.mu.Unlock()
	taken, err := r.takenAddresses(ctx)
	if err != nil {
		return "", err
	}
	candidates := 0
	for _, public := range r.cfg.PublicAddresses {
		address := public.Address
		if asked := job.Submission.IPAddr; !public.For(job.Owner) || asked != "" && asked != address {
			continue
		}
		candidates++
		if attempt, ok := taken[address]; !ok || attempt == job.Attempt {
			r.promises.attempts[address] = job.Attempt
			return address, nil
		}
	}
	switch {
	case job.Submission.IPAddr != "" && candidates == 0:
		return "", image.Refuse("this server no longer has the address %s", job.Submission.IPAddr)
	case job.Submission.IPAddr != "":
		return "", image.Refuse("the address %s is in use", job.Submission.IPAddr)
	case candidates > 0:
		return "", errNoAddress
	default:
		return "", nil
	}
}

// takenAddresses returns the attempts that have public addresses, or will have them, by address. It is called with the promises' lock.
func (r *Reconciler) takenAddresses(ctx context.Context) (map[string]string, error) {
	statuses, err := r.cfg.Engine.List(ctx)
	if err != nil {
		return nil, err
	}
	if r.promises.attempts == nil {
		r.promises.attempts = make(map[string]string)
	}
	for _, status := range statuses {
		if status.Address != "" {
			r.promises.attempts[status.Address] = status.ID
		}
	}
	return r.promises.attempts, nil
}

// publish says which ports of a job are reached at its public address.
func publish(address string, ports []berth.Port) engine.Publish {
	if address == "" {
		return engine.Publish{}
	}
	if ports == nil {
		ports = berth.UsualPorts()
	}
	published := engine.Publish{Address: address, Ports: []engine.Port{{Protocol: "tcp", Number: agentapi.SSHPort, Host: sshPort}}}
	for _, port := range ports {
		if port.Number == sshPort && port.Protocol == "tcp" || port.Protocol != "tcp" && port.Protocol != "udp" {
			continue
		}
		if p := (engine.Port{Protocol: port.Protocol, Number: port.Number}); !slices.Contains(published.Ports, p) {
			published.Ports = append(published.Ports, p)
		}
	}
	return published
}

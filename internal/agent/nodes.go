package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/sshclient"
)

const (
	// nodesWithin is how long the first node waits until all answer, and answerWithin how long it waits for one answer.
	nodesWithin  = time.Minute
	answerWithin = 10 * time.Second
)

// joinNodes lets the user get from each node of the job to each. On the first node it returns when every node answers.
func (a *agent) joinNodes(prepared *setup) error {
	if prepared.spec.SSH == nil {
		return nil
	}
	a.out.say("Reading keys...")
	keys, err := parseKeys(prepared.spec.SSH)
	if err != nil {
		return err
	}
	if err := prepared.writeSSH(keys); err != nil {
		return fmt.Errorf("ssh: %w", err)
	}
	linked, err := prepared.linkClients()
	if err != nil {
		return fmt.Errorf("ssh client: %w", err)
	}
	if linked {
		a.out.say("Injecting static ssh client.")
	}
	a.out.say("Starting SSHD server...")
	if prepared.sshd, err = prepared.startSSH(prepared.commandOf(a.cfg.Environ)); err != nil {
		return fmt.Errorf("ssh server of node %s: %w", prepared.spec.Hostname, err)
	}
	if isWorker(prepared.spec) {
		return nil
	}
	a.out.say("Checking all nodes can be reached through ssh...")
	ctx, cancel := context.WithTimeout(context.Background(), nodesWithin)
	defer cancel()
	if err := a.awaitNodes(ctx, prepared.spec, keys); err != nil {
		return err
	}
	if !a.signals.ended() {
		a.out.say("SSH test success!")
	}
	return nil
}

// awaitNodes returns when every node lets the user in, or when the job shall end. Its error names the nodes that do not.
func (a *agent) awaitNodes(ctx context.Context, spec agentapi.Spec, keys sshKeys) error {
	cfg := &ssh.ClientConfig{
		User: spec.User.Name, Auth: []ssh.AuthMethod{ssh.PublicKeys(keys.user)}, HostKeyCallback: ssh.FixedHostKey(keys.host),
	}
	failures := make([]error, len(spec.Nodes))
	var asking sync.WaitGroup
	for i, node := range spec.Nodes {
		if spec.VerboseInit {
			a.out.say("VERBOSE - Attempting ssh connection to %s.", node.Name)
		}
		asking.Go(func() {
			if err := a.awaitNode(ctx, node, cfg); err != nil {
				failures[i] = fmt.Errorf("node %s cannot be reached by ssh: %w", node.Name, err)
			}
		})
	}
	asking.Wait()
	for i, node := range spec.Nodes {
		if spec.VerboseInit && failures[i] == nil && !a.signals.ended() {
			a.out.say("VERBOSE - Success connecting to %s.", node.Name)
		}
	}
	return errors.Join(failures...)
}

// awaitNode returns when a node lets the user in. Its error is the last attempt's.
func (a *agent) awaitNode(ctx context.Context, node agentapi.Node, cfg *ssh.ClientConfig) error {
	address := net.JoinHostPort(addressOf(node), strconv.Itoa(agentapi.SSHPort))
	for pause := time.Duration(0); ; {
		attempt, cancel := context.WithTimeout(ctx, answerWithin)
		client, err := sshclient.Dial(attempt, address, cfg)
		cancel()
		if err == nil {
			return client.Close()
		}
		if a.signals.ended() {
			return nil
		}
		pause = min(grow(pause), 10*firstPause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
	}
}

// serve is all that a worker does: it is there for the first node until it is killed, or told to end.
func (a *agent) serve(prepared *setup) {
	var again <-chan time.Time
	for {
		select {
		case <-a.signals.child:
			if reapOrphans(prepared.sshd) {
				again = time.After(serverAgain)
			}
		case <-again:
			pid, err := prepared.restartSSH(prepared.commandOf(a.cfg.Environ))
			if err != nil {
				again = time.After(serverAgain)
				continue
			}
			prepared.sshd, again = pid, nil
		case <-a.signals.stop:
			return
		case <-a.signals.kill:
			return
		}
	}
}

// reapOrphans collects what has ended, and says whether a process was among it.
func reapOrphans(sought int) (found bool) {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG|unix.WALL, nil)
		found = found || pid > 0 && pid == sought
		if pid <= 0 && !errors.Is(err, unix.EINTR) {
			return found
		}
	}
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/berth-hpc/berth/client"
	"github.com/berth-hpc/berth/internal/berthdtest"
)

// pingpong measures MPI between the two nodes of a job, beside MPI between two network namespaces that a bridge joins; and within one
// node, where MPI uses shared memory, beside the same on the bare machine. The root filesystem is the same everywhere.
func (b *bench) pingpong(ctx context.Context) (err error) {
	rootfs, err := exec.CommandContext(ctx, filepath.Join(b.root, "scripts", "rootfs"), "netpipe-openmpi").Output()
	if err != nil {
		return fmt.Errorf("root filesystem with NetPIPE: %w", err)
	}
	s := b.server("pingpong", "--cores", "2")
	defer func() { err = errors.Join(err, s.Down(ctx)) }()
	if err := s.Start(ctx); err != nil {
		return err
	}
	if err := importRootfs(ctx, s, strings.TrimSpace(string(rootfs)), netpipe); err != nil {
		return err
	}
	plain, err := newSpaces(ctx, filepath.Join(b.dir, "netpipe"), strings.TrimSpace(string(rootfs)))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plain.close(context.WithoutCancel(ctx))) }()
	b.printf("| MPI | latency | against the floor | bandwidth | the floor's against it |\n|---|---|---|---|---|\n")
	for _, way := range []struct {
		floor, job string
		// hosts are where the floor's two processes are.
		hosts   string
		machine client.MachineRequest
	}{
		{"two namespaces and a bridge", "two nodes of a job", firstIP + ":1," + secondIP + ":1", client.MachineRequest{Type: "n0", Nodes: 2}},
		{"the bare machine", "one node of a job", firstIP + ":2", client.MachineRequest{Type: "n2", Nodes: 1}},
	} {
		var floor, job pipe
		for range b.pick(5, 1) { // in turns, so that both see the same machine; the best of each is what the way between the two allows
			once, err := plain.run(ctx, way.hosts)
			if err != nil {
				return err
			}
			floor = floor.best(once)
			if once, err = pipeOfJob(ctx, s, way.machine); err != nil {
				return err
			}
			job = job.best(once)
		}
		b.printf("| %s | %.2f µs | 1.00 | %.0f Mbit/s | 1.00 |\n", way.floor, floor.micros, floor.mbits)
		b.printf("| %s | %.2f µs | %.2f | %.0f Mbit/s | %.2f |\n", way.job, job.micros, job.micros/floor.micros, job.mbits, floor.mbits/job.mbits)
	}
	return nil
}

const (
	netpipe = "local/netpipe:latest"
	// largest is the size of the largest message, in bytes.
	largest = "4194304"
)

// pipe is what NetPIPE says: how long the smallest message takes, and how much goes through at most.
type pipe struct{ micros, mbits float64 }

func (p pipe) best(q pipe) pipe {
	if p.micros == 0 {
		return q
	}
	return pipe{min(p.micros, q.micros), max(p.mbits, q.mbits)}
}

// measured is a line of NetPIPE's.
var measured = regexp.MustCompile(`bytes\s+\d+ times -->\s+([0-9.]+) Mbps in\s+([0-9.]+) usec`)

func readPipe(text []byte) (p pipe, err error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		found := measured.FindStringSubmatch(lines.Text())
		if found == nil {
			continue
		}
		mbits, err1 := strconv.ParseFloat(found[1], 64)
		micros, err2 := strconv.ParseFloat(found[2], 64)
		if err := errors.Join(err1, err2); err != nil {
			return p, err
		}
		p = p.best(pipe{micros, mbits})
	}
	if p.mbits == 0 {
		return p, fmt.Errorf("NetPIPE measured nothing:\n%s", text)
	}
	return p, lines.Err()
}

func pipeOfJob(ctx context.Context, s *berthdtest.Server, machine client.MachineRequest) (pipe, error) {
	c, err := clientOf(s)
	if err != nil {
		return pipe{}, err
	}
	receipt, err := c.Batch(ctx, client.Submission{
		Container: &client.Container{
			Image: netpipe, JobScript: "mpirun.openmpi --hostfile /etc/JARVICE/nodes NPopenmpi -p 0 -u " + largest + " -o /tmp/np.out 2>&1",
		},
		Machine: &machine,
	})
	if err != nil {
		return pipe{}, err
	}
	ref := client.Number(receipt.Number)
	if _, err := c.Wait(ctx, ref); err != nil {
		return pipe{}, err
	}
	text, err := c.Output(ctx, ref, 0)
	if err != nil {
		return pipe{}, err
	}
	return readPipe(text)
}

func importRootfs(ctx context.Context, s *berthdtest.Server, path, name string) error {
	c, err := clientOf(s)
	if err != nil {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	_, err = c.ImportImage(ctx, file, client.ImageImport{Name: name, Rootfs: true})
	return err
}

// spaces are two network namespaces joined by a bridge, and a root filesystem.
type spaces struct {
	root string
	// name is that of the bridge, and with 1 and 2 behind it those of the two; of this process, so that one that was killed is in nobody's way.
	name string
}

// Addresses of the two.
const (
	firstIP  = "10.254.253.1"
	secondIP = "10.254.253.2"
)

func newSpaces(ctx context.Context, root, rootfs string) (*spaces, error) {
	n := &spaces{root: root, name: "bench" + strconv.Itoa(os.Getpid())}
	setup := fmt.Sprintf(`set -e
mkdir -p %[1]s && tar -C %[1]s -xf %[2]s
printf '#!/bin/sh\nshift\nexec nsenter --net=/run/netns/%[3]s2 sh -c "$*"\n' > %[1]s/agent
chmod 755 %[1]s/agent && mkdir -p %[1]s/run/netns
ip link add %[3]s type bridge && ip link set %[3]s mtu 65535 up
for i in 1 2; do
	ip netns add %[3]s$i
	ip link add %[3]s$i mtu 65535 master %[3]s type veth peer name eth0 mtu 65535 netns %[3]s$i
	ip link set %[3]s$i up
	ip -n %[3]s$i addr add 10.254.253.$i/24 dev eth0
	ip -n %[3]s$i link set eth0 up
	ip -n %[3]s$i link set lo up
done
`, root, rootfs, n.name)
	if err := command(ctx, "sh", "-c", setup); err != nil {
		return nil, errors.Join(err, n.close(ctx))
	}
	return n, nil
}

// run runs NetPIPE in the first, with its two processes on the given hosts.
func (n *spaces) run(ctx context.Context, hosts string) (pipe, error) {
	script := fmt.Sprintf(`set -e
mount --rbind /proc %[1]s/proc && mount --rbind /dev %[1]s/dev && mount --rbind /run/netns %[1]s/run/netns
exec chroot %[1]s env OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun.openmpi --mca plm_rsh_agent /agent --bind-to none \
	--host %[2]s NPopenmpi -p 0 -u %[3]s -o /tmp/np.out 2>&1`, n.root, hosts, largest)
	out, err := exec.CommandContext(ctx, "ip", "netns", "exec", n.name+"1", "unshare", "--mount", "sh", "-c", script).CombinedOutput()
	if err != nil {
		return pipe{}, fmt.Errorf("NetPIPE in namespaces: %w: %s", err, out)
	}
	return readPipe(out)
}

func (n *spaces) close(ctx context.Context) error {
	return command(ctx, "sh", "-c", "for name in "+n.name+"1 "+n.name+"2; do ip netns del $name; done; ip link del "+n.name)
}

package containerd_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	containerdclient "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"

	"github.com/berth-hpc/berth/internal/engine"
	"github.com/berth-hpc/berth/internal/engine/containerd"
	"github.com/berth-hpc/berth/internal/engine/containerd/private"
	"github.com/berth-hpc/berth/internal/engine/enginetest"
)

// contestant runs containers with a command that does nothing. start returns when it runs, finish when it is gone.
type contestant interface {
	start(b *testing.B) (id string)
	finish(b *testing.B, id string)
}

// The contestants: the engine without and with a network, and the bare containerd client with the same root filesystem on the
// same containerd, without the agent, without a filter of system calls, without limits and without a network. They take turns,
// so that what else the machine does hits all of them.
var contestants = []string{"none", "bridge", "bare"}

// BenchmarkStart measures the time from the order to the running container, one at a time.
func BenchmarkStart(b *testing.B) {
	all := newContestants(b)
	times := make(map[string][]time.Duration)
	for b.Loop() {
		for _, name := range contestants {
			began := time.Now()
			id := all[name].start(b)
			times[name] = append(times[name], time.Since(began))
			all[name].finish(b, id)
		}
	}
	median := func(name string) float64 {
		slices.Sort(times[name])
		return times[name][len(times[name])/2].Seconds() * 1000
	}
	for _, name := range contestants {
		b.ReportMetric(median(name), name+"-ms")
		b.ReportMetric(median(name)/median("bare"), name+"/bare")
	}
}

// BenchmarkStartNodes measures how much longer an attempt of four nodes takes to start than one of one node.
func BenchmarkStartNodes(b *testing.B) {
	e := newMachine(b).open(b)
	times := make(map[int][]time.Duration)
	for b.Loop() {
		for _, nodes := range []int{1, 4} {
			a := enginetest.NewAttempt(b, enginetest.Script{Text: "sleep 100", Nodes: nodes})
			began := time.Now()
			if err := e.Start(b.Context(), a); err != nil {
				b.Fatal(err)
			}
			times[nodes] = append(times[nodes], time.Since(began))
			if err := e.Remove(b.Context(), a.ID); err != nil {
				b.Fatal(err)
			}
		}
	}
	median := func(nodes int) float64 {
		slices.Sort(times[nodes])
		return times[nodes][len(times[nodes])/2].Seconds() * 1000
	}
	b.ReportMetric(median(1), "one-ms")
	b.ReportMetric(median(4), "four-ms")
	b.ReportMetric(median(4)/median(1), "four/one")
}

// BenchmarkJobs measures how many containers per second begin, end and are removed, four at a time.
func BenchmarkJobs(b *testing.B) {
	const parallel, each = 4, 4
	all := newContestants(b)
	spent := make(map[string]time.Duration)
	rounds := 0
	for b.Loop() {
		rounds++
		for _, name := range contestants {
			began := time.Now()
			var wait sync.WaitGroup
			for range parallel {
				wait.Go(func() {
					for range each {
						all[name].finish(b, all[name].start(b))
					}
				})
			}
			wait.Wait()
			spent[name] += time.Since(began)
		}
	}
	rate := func(name string) float64 { return float64(rounds*parallel*each) / spent[name].Seconds() }
	for _, name := range contestants {
		b.ReportMetric(rate(name), name+"-jobs/s")
		b.ReportMetric(rate(name)/rate("bare"), name+"/bare")
	}
}

func newContestants(b *testing.B) map[string]contestant {
	m := newMachine(b)
	all := make(map[string]contestant)
	for _, mode := range []string{containerd.NetworkNone, containerd.NetworkBridge} {
		m.network = mode
		c := &engineContestant{engine: m.open(b), exits: make(map[string]chan struct{})}
		exits := c.engine.Exits(b.Context())
		go func() {
			for id := range exits {
				c.exited(id)
			}
		}()
		all[mode] = c
	}
	client, err := containerdclient.New(private.New(private.Config{DataDir: m.dataDir}).Address(),
		containerdclient.WithDefaultNamespace(containerd.Namespace))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = client.Close() })
	image, err := client.GetImage(b.Context(), enginetest.Image)
	if err != nil {
		b.Fatal(err)
	}
	all["bare"] = &bareContestant{client: client, image: image, tasks: make(map[string]bareTask)}
	return all
}

type engineContestant struct {
	engine *containerd.Engine
	mu     sync.Mutex
	exits  map[string]chan struct{}
}

func (c *engineContestant) start(b *testing.B) string {
	a := enginetest.NewAttempt(b, enginetest.Script{Text: "exit 0"})
	c.expect(a.ID)
	if err := c.engine.Start(b.Context(), a); err != nil {
		b.Error(err)
	}
	return a.ID
}

// expect makes the channel that the exit of an attempt closes.
func (c *engineContestant) expect(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.exits[id] = make(chan struct{})
}

// exited is told every exit, also those of other contestants, and perhaps twice.
func (c *engineContestant) exited(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if exit := c.exits[id]; exit != nil {
		close(exit)
		delete(c.exits, id)
	}
}

func (c *engineContestant) finish(b *testing.B, id string) {
	c.mu.Lock()
	exit := c.exits[id]
	c.mu.Unlock()
	if exit != nil {
		<-exit
	}
	status, err := c.engine.Status(b.Context(), id)
	if err != nil || status.Phase != engine.PhaseExited || status.Exit.Code != 0 {
		b.Errorf("status is %+v, %v", status, err)
	}
	if err := c.engine.Remove(b.Context(), id); err != nil {
		b.Error(err)
	}
}

type bareContestant struct {
	client *containerdclient.Client
	image  containerdclient.Image
	mu     sync.Mutex
	tasks  map[string]bareTask
}

type bareTask struct {
	container containerdclient.Container
	task      containerdclient.Task
	exit      <-chan containerdclient.ExitStatus
}

func (c *bareContestant) start(b *testing.B) string {
	id := fmt.Sprintf("bare-%d", time.Now().UnixNano())
	container, err := c.client.NewContainer(b.Context(), id, containerdclient.WithNewSnapshot(id, c.image),
		containerdclient.WithNewSpec(oci.WithImageConfig(c.image), oci.WithProcessArgs("/bin/true")))
	if err != nil {
		b.Fatal(err)
	}
	task, err := container.NewTask(b.Context(), cio.NullIO)
	if err != nil {
		b.Fatal(err)
	}
	exit, err := task.Wait(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if err := task.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tasks[id] = bareTask{container, task, exit}
	return id
}

func (c *bareContestant) finish(b *testing.B, id string) {
	c.mu.Lock()
	t := c.tasks[id]
	delete(c.tasks, id)
	c.mu.Unlock()
	<-t.exit
	if _, err := t.task.Delete(b.Context()); err != nil {
		b.Error(err)
	}
	if err := t.container.Delete(context.WithoutCancel(b.Context()), containerdclient.WithSnapshotCleanup); err != nil {
		b.Error(err)
	}
}

package containerd_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
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

// contestant runs one container with a command that does nothing. started is how long it took until it ran.
type contestant interface {
	start(b *testing.B, n int64) (id string)
	finish(b *testing.B, id string)
}

// BenchmarkStart measures the time from the order to the running container, one at a time, and BenchmarkJobs how many containers
// per second begin, end and are removed, four at a time; beside them what the bare containerd client needs for the same root
// filesystem, without the agent and without a network, on the same containerd.
func BenchmarkStart(b *testing.B) {
	contest(b, func(b *testing.B, c contestant) {
		var n int64
		for b.Loop() {
			n++
			id := c.start(b, n)
			b.StopTimer()
			c.finish(b, id)
			b.StartTimer()
		}
	})
}

// BenchmarkJobs is described at BenchmarkStart.
func BenchmarkJobs(b *testing.B) {
	const parallel = 4
	contest(b, func(b *testing.B, c contestant) {
		var n atomic.Int64
		began := time.Now()
		var wait sync.WaitGroup
		for range parallel {
			wait.Go(func() {
				for {
					i := n.Add(1)
					if i > int64(b.N) {
						return
					}
					c.finish(b, c.start(b, i))
				}
			})
		}
		wait.Wait()
		b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "jobs/s")
	})
}

func contest(b *testing.B, measure func(b *testing.B, c contestant)) {
	m := newMachine(b)
	for _, mode := range []string{containerd.NetworkNone, containerd.NetworkBridge} {
		b.Run("engine,network="+mode, func(b *testing.B) {
			m.network = mode
			measure(b, &engineContestant{engine: m.open(b), exits: make(map[string]chan struct{})})
		})
	}
	b.Run("bare", func(b *testing.B) {
		client, err := containerdclient.New(private.New(private.Config{DataDir: m.dataDir}).Address(),
			containerdclient.WithDefaultNamespace(containerd.Namespace))
		if err != nil {
			b.Fatal(err)
		}
		defer client.Close()
		image, err := client.GetImage(b.Context(), enginetest.Image)
		if err != nil {
			b.Fatal(err)
		}
		measure(b, &bareContestant{client: client, image: image, tasks: make(map[string]bareTask)})
	})
}

type engineContestant struct {
	engine *containerd.Engine
	once   sync.Once
	mu     sync.Mutex
	exits  map[string]chan struct{}
}

func (c *engineContestant) start(b *testing.B, _ int64) string {
	c.once.Do(func() {
		exits := c.engine.Exits(b.Context())
		go func() {
			for id := range exits {
				close(c.exit(id))
			}
		}()
	})
	a := enginetest.NewAttempt(b, enginetest.Script{Text: "exit 0"})
	if err := c.engine.Start(b.Context(), a); err != nil {
		b.Error(err)
	}
	return a.ID
}

// exit returns the channel that the exit of an attempt closes.
func (c *engineContestant) exit(id string) chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.exits[id] == nil {
		c.exits[id] = make(chan struct{})
	}
	return c.exits[id]
}

func (c *engineContestant) finish(b *testing.B, id string) {
	<-c.exit(id)
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

func (c *bareContestant) start(b *testing.B, n int64) string {
	id := fmt.Sprintf("bare-%d-%d", n, time.Now().UnixNano())
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

// Package engine is the contract between the server and what runs containers. internal/engine/containerd runs them on one
// machine, internal/engine/fake is scriptable; both pass the suite in internal/engine/enginetest.
package engine

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
)

// Errors that every engine returns (wrapped) and callers test with errors.Is. Any other error means that the engine does not
// know: the caller must change nothing and look again.
var (
	// ErrNotFound: the attempt, or the image, is definitely not there.
	ErrNotFound = errors.New("engine: not found")
	// ErrExists: an attempt with this id is there already, in whatever phase. It was not started again.
	ErrExists = errors.New("engine: attempt exists")
	// ErrRefused: it can never work (no such image, not allowed, wrong architecture, not a runnable image). The text is public.
	ErrRefused = errors.New("engine: refused")
)

// Attempt is what an engine needs to run one placement of a job. Everything is required unless it says otherwise.
type Attempt struct {
	// ID names the container. It is unique for ever, [a-z0-9-], at most 60 bytes, and chosen and stored before Start.
	ID string
	// Job is the job's number; engines keep it with the container for people who look with other tools.
	Job int64
	// Hostname is what hostname prints inside.
	Hostname string
	// Image is a normalised reference that is in the engine's local store (see Images.Pull).
	Image string
	// Cores is a hard CPU limit, RAM a hard memory limit in bytes, and GPUs the number of GPUs, of each node. GPUs is optional.
	Cores int
	RAM   int64
	GPUs  int
	// Scratch bounds what the files that the attempt changes and makes may take on all nodes together, in bytes; 0 is no bound. Engines
	// that cannot bound it refuse it.
	Scratch int64
	// Dir is an absolute path of a directory on the host, made by the caller, mode 0700, owner root. The engine mounts it at
	// agentapi.Dir. It holds the agent's specification before Start; the agent writes its output and its report there.
	Dir string
	// Workers are the nodes besides the first, each with the same image, limits and mounts. Optional. With them, the engine writes
	// agentapi.PeersFile into the directories of all nodes before any of them starts.
	Workers []Worker
	// Hosts are the names of the hosts for the nodes, the first node's first; empty when the engine has one host only.
	Hosts []string
	// Mounts are further directories of the host. Optional.
	Mounts []Mount
	// Publish are ports of the first node that are reached at an address of its host as well. Optional.
	Publish Publish
}

// Worker is a node of an attempt besides the first.
type Worker struct {
	// Hostname and Dir are as those of the Attempt.
	Hostname string
	Dir      string
}

// Publish says where the first node of an attempt is reached from outside.
type Publish struct {
	// Address is an address of the host; empty for one that the engine chooses.
	Address string
	Ports   []Port
}

// Port is a port of the first node that is reached at the same number, unless Host is set, of an address of the host.
type Port struct {
	// Protocol is tcp or udp.
	Protocol string
	// Number is the port inside; Host the one outside, 0 for the same.
	Number, Host int
}

// Mount puts a directory of the host into the container.
type Mount struct {
	Source, Target string
	ReadOnly       bool
}

// Phase says how far an attempt got.
type Phase string

// The phases.
const (
	// PhaseCreated: the container is there, and its command has definitely not been started. Remove it and Start again.
	PhaseCreated Phase = "created"
	// PhaseRunning: it was started, and its end has not been seen.
	PhaseRunning Phase = "running"
	// PhaseExited: it was started (or may have been) and runs no more. Nothing of it comes to life again.
	PhaseExited Phase = "exited"
)

// Status is what an engine knows of an attempt.
type Status struct {
	ID    string
	Job   int64
	Phase Phase
	// Started is when the container was started, zero when that is not known.
	Started time.Time
	// Exit is set in PhaseExited. Exit.Known is false when the engine can never learn the exit code; it never guesses. Exit.Node
	// names a worker that ended by itself before the first node did.
	Exit berth.Exit
	// Failed is, in PhaseRunning, the host name of a worker that runs no more although the first node does: the attempt is to be
	// stopped. Detail says how it ended, as far as that is known.
	Failed, Detail string
	// Address is where the ports of Attempt.Publish are reached; empty without them.
	Address string
	// Ended is when it ended, zero when that is not known.
	Ended time.Time
}

// Engine runs attempts. All methods may be called concurrently, also for the same attempt, and return soon after ctx ends.
// An engine remembers attempts over a restart of the server, and no restart of the server touches a running one.
type Engine interface {
	// Hosts returns the hosts that the engine runs attempts on, ordered by name.
	Hosts(ctx context.Context) ([]berth.Host, error)

	// Start creates and starts an attempt: all of its nodes or, after an error, none that stays. The first node is started last: an
	// attempt of which only workers are there is in PhaseCreated. ErrExists when the id is taken, also by an attempt that has exited; two concurrent
	// Starts of an id start it once. After any other error the caller learns by Status what is there. ErrRefused when it can
	// never work.
	Start(ctx context.Context, a Attempt) error

	// The attempt runs as long as its first node does. Workers run until Remove, or until a Stop without grace.
	//
	// Stop asks an attempt to end and returns at once; calling it twice is safe. With a grace above 0 the agent forwards SIGTERM
	// and kills what is left after the grace, even when the server is gone by then. With grace 0 everything is killed now; output
	// already written by the command is kept. No error when it has exited already; ErrNotFound when it is not there.
	Stop(ctx context.Context, id string, grace time.Duration) error

	// Status returns one attempt, or ErrNotFound. List returns all of them; after an error it returns none.
	Status(ctx context.Context, id string) (Status, error)
	List(ctx context.Context) ([]Status, error)

	// Remove kills what still runs and frees everything that the attempt has in the engine: processes, mounts, network, scratch.
	// Safe to call twice and for an attempt that was never there. Dir is the caller's and stays.
	Remove(ctx context.Context, id string) error

	// Exits sends the id of an attempt soon after its exit, and after that of one of its workers. It is a hint: it can be lost, repeated or late, so callers look with
	// Status and have a slow tick. The channel is closed after ctx ends.
	Exits(ctx context.Context) <-chan string
}

// Agents reach the agents of running attempts. Safe for concurrent use.
type Agents interface {
	// Ask hands a request to the agent of an attempt and returns its answer, which may be a refusal (Answer.Error). ErrNotFound when
	// the attempt is definitely not there or its command does not run, so that nothing was done; after any other error nobody knows
	// whether it was. Bound it with ctx: an answer can take as long as the program of the image that makes it.
	Ask(ctx context.Context, id string, req agentapi.Request) (agentapi.Answer, error)
	// OpenShell starts a shell in an attempt and returns its terminal, which the caller closes. Errors are those of Ask; an
	// *agentapi.Error is the agent's refusal. ctx bounds the opening only.
	OpenShell(ctx context.Context, id string, req agentapi.ShellRequest) (*agentapi.Terminal, error)
	// OpenDisplay connects to the VNC server of the first display of an attempt. The caller closes the connection, which ends with ctx.
	// Errors are those of OpenShell.
	OpenDisplay(ctx context.Context, id string) (io.ReadWriteCloser, error)
}

// Meter measures what attempts use. Safe for concurrent use.
type Meter interface {
	// Usage returns what each node of an attempt has used up to now, the first node first; ErrNotFound when it does not run.
	Usage(ctx context.Context, id string) ([]Usage, error)
}

// Usage is what one node of an attempt uses.
type Usage struct {
	// At is when it was measured.
	At time.Time
	// CPU is the time that its processes have computed since its start, of all cores together.
	CPU time.Duration
	// Memory is what it takes now, without the file cache that the kernel would give up, and MemoryLimit what it may take, in bytes.
	Memory, MemoryLimit int64
	// Processes is the number of its processes and threads now.
	Processes int
}

// Image is an image in the engine's local store.
type Image struct {
	// Name is the normalised reference.
	Name string
	// Digest is the digest of its manifest or index.
	Digest string
	// Size is what its blobs for this architecture take, in bytes; 0 when not known.
	Size    int64
	Created time.Time
}

// Credentials are for a registry. Both empty: anonymous.
type Credentials struct {
	Username, Password string
}

// Progress is called now and then during a long operation with a sentence for people, for example "12.3 of 45.6 MB". It must
// not block. It may be nil.
type Progress func(sentence string)

// Images is the local image store of an engine. All methods may be called concurrently.
type Images interface {
	// Image returns an image by its normalised reference, or ErrNotFound.
	Image(ctx context.Context, ref string) (Image, error)
	// Images lists all, ordered by name.
	Images(ctx context.Context) ([]Image, error)
	// ReadFile returns a file of an image in the store. Symlinks on the way are followed inside of the image only. ErrNotFound when the
	// image or the file is not there; ErrRefused when it is no regular file or has more than limit bytes.
	ReadFile(ctx context.Context, ref, path string, limit int64) ([]byte, error)
	// Pull brings an image from its registry; when it is already there it does nothing and asks no registry. ErrRefused when
	// the registry says definitely no, with its reason. Two concurrent Pulls of a reference share the work.
	Pull(ctx context.Context, ref string, credentials Credentials, progress Progress) error
	// Import reads an archive (docker-archive or OCI layout as a tar stream, compressed or not) and stores its images. When name
	// is not empty the archive must hold one image, which gets that normalised reference; otherwise the names in the archive are
	// normalised and kept. ErrRefused, with a reason, when the stream is no such archive.
	Import(ctx context.Context, archive io.Reader, name string, progress Progress) ([]Image, error)
	// ImportRootfs reads a tar stream of a root filesystem (compressed or not) and stores it as a one-layer image of this
	// machine's architecture named name. ErrRefused, with a reason, when it is no tar.
	ImportRootfs(ctx context.Context, rootfs io.Reader, name string, progress Progress) (Image, error)
	// RemoveImage forgets an image, ErrNotFound when it is not there. Running attempts keep what they need.
	RemoveImage(ctx context.Context, ref string) error
}

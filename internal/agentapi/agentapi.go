// Package agentapi is what the server and the agent (cmd/berth-init) say to each other: the files of one directory, Dir. It is
// the same on every engine.
package agentapi

import "time"

// Dir is where the attempt's directory appears in the container. It belongs to root with mode 0700; the job's user cannot see
// into it.
const Dir = "/run/berth"

// Init is the path of the agent in the container, a read-only mount. It is PID 1 and takes no arguments.
const Init = "/run/berth-init"

// SSHPort is where every node of a job with Spec.SSH has an ssh server.
const SSHPort = 2222

// SSHServer is the argument with which the agent's program is that server. SSHReady is the line that it writes when clients can connect.
const (
	SSHServer = "sshd"
	SSHReady  = "ready"
)

// The files in Dir.
const (
	// SpecFile holds a Spec as JSON, written by the server before the start.
	SpecFile = "spec.json"
	// PeersFile holds the nodes of a job that has several as JSON, []Node with their addresses, written by the engine before it starts
	// any of them. Without it a job has one node.
	PeersFile = "peers.json"
	// OutputFile holds the job's output: the agent's INIT lines, the banner, then stdout and stderr of the command in one ordered
	// stream. The agent appends to it and nobody else. It is not empty once the agent has begun: a missing or empty output file, without
	// a report, means that nothing of the job ever ran.
	OutputFile = "output"
	// SocketFile is a socket of the agent, root's only, on which it answers one Request for each connection while the command
	// runs: the server writes a Request as JSON and a line end, the agent an Answer as JSON and a line end, and closes.
	SocketFile = "agent.sock"
	// ReportFile holds a Report as JSON. It is on the disk and whole: the agent writes it under another name, syncs and renames it, first
	// before it starts the command (Ended zero), then after the command's end, when all output has been written.
	ReportFile = "report.json"
)

// Exit codes of the agent itself, for ends that are not the command's.
const (
	// ExitSetup: the environment could not be prepared; the report's Error says why. The command never ran.
	ExitSetup = 125
)

// Spec is what the agent has to do.
type Spec struct {
	Job   int64  `json:"job"`
	Name  string `json:"name"`
	Label string `json:"label,omitempty"`
	// Hostname is the name of this node.
	Hostname string `json:"hostname"`
	// Nodes are all nodes of the job, the first is the one that runs the command. At least one.
	Nodes []Node `json:"nodes"`
	User  User   `json:"user"`
	// Script is the text of the job script, decoded. With a first line that starts with #! the agent runs it as a program, else
	// by /bin/sh. Exactly one of Script, Argv and Shell is set.
	Script string `json:"script,omitempty"`
	// Argv is the command and its arguments. Shell is a text for "/bin/sh -l -c".
	Argv  []string `json:"argv,omitempty"`
	Shell string   `json:"shell,omitempty"`
	// Variables go to /etc/JARVICE/jobenv.sh in this order, and into the environment.
	Variables []Setting `json:"variables,omitempty"`
	// Files are written before the command starts: in the container's own root filesystem, not in what is mounted there. Their paths
	// pass CheckFile.
	Files []File `json:"files,omitempty"`
	// Password is the job's own, and Random 128 characters for the files that hold them; empty for a job that has none.
	Password string `json:"password,omitempty"`
	Random   string `json:"random,omitempty"`
	// Certificate is a private key and its certificate as PEM, for what the job serves by TLS; empty for a job that serves nothing.
	Certificate []byte `json:"certificate,omitempty"`
	// Geometry is the size of the desktop, such as 1280x720.
	Geometry string `json:"geometry,omitempty"`
	// VerboseInit has the agent say more. It says nothing of Secrets, Password and Random.
	VerboseInit bool     `json:"verbose_init,omitempty"`
	Secrets     []string `json:"secrets,omitempty"`
	// Terminal says that the command runs on a terminal of its own, and starts when that is first opened; see ShellRequest.
	Terminal bool `json:"terminal,omitempty"`
	// Init says that the command is an init, such as /sbin/init: it is asked to end by running poweroff.
	Init bool `json:"init,omitempty"`
	// Env is set for the command over the environment of the image, but never PATH, JARVICE_* and what the platform sets itself, such
	// as HOME, USER, HOSTNAME and JOB_NAME. Variables are set over all of it.
	Env map[string]string `json:"env,omitempty"`
	// PublicAddress is where the first node is reached from outside; empty when it is not.
	PublicAddress string `json:"public_address,omitempty"`
	// SSH is how the nodes let the job's user in; nil when nobody shall.
	SSH *SSH `json:"ssh,omitempty"`
	// Data says what to do with /data.
	Data Data `json:"data"`
	// Grace is how long the command may take to end after a SIGTERM to the agent before everything is killed.
	Grace time.Duration `json:"grace"`
	// Nameservers and Search go to /etc/resolv.conf. Empty: the image's file is left alone.
	Nameservers []string `json:"nameservers,omitempty"`
	Search      []string `json:"search,omitempty"`
}

// Node is one node of the job.
type Node struct {
	Name string `json:"name"`
	// Address is its IP address, empty when it has no network besides the loopback.
	Address string `json:"address,omitempty"`
	Cores   int    `json:"cores"`
}

// SSH is what the agents of all nodes of a job share so that its user gets from each to each, and in from outside, without a password.
type SSH struct {
	// Key is the private key of the job's user and HostKey that of every node's server, in the format of OpenSSH.
	Key     []byte `json:"key"`
	HostKey []byte `json:"host_key"`
	// Authorized are public keys that may log in too, as lines of authorized_keys.
	Authorized []string `json:"authorized,omitempty"`
}

// Setting is a variable with its value.
type Setting struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// File is a file of the job. It belongs to root and everybody can read it; with Executable everybody can run it.
type File struct {
	Path       string `json:"path"`
	Data       []byte `json:"data"`
	Executable bool   `json:"executable,omitempty"`
}

// User is who the command runs as. UID and GID are never 0.
type User struct {
	Name  string `json:"name"`
	Group string `json:"group"`
	UID   int    `json:"uid"`
	GID   int    `json:"gid"`
}

// Data is the job's vault, mounted at Path.
type Data struct {
	Path string `json:"path"`
	// Chown gives the mount point itself, not what is in it, to the user.
	Chown bool `json:"chown,omitempty"`
}

// Report is what the agent knows of the command.
type Report struct {
	// Started is when the command was started; zero when it never was.
	Started time.Time `json:"started,omitzero"`
	// Ended is when the command had ended and all output was written; zero until then.
	Ended time.Time `json:"ended,omitzero"`
	// ExitCode is the command's, 128 + Signal when a signal ended it, ExitSetup when Error is set.
	ExitCode int `json:"exit_code"`
	Signal   int `json:"signal,omitempty"`
	// OOMKills counts processes of this node that the kernel killed because the memory was used up.
	OOMKills int `json:"oom_kills,omitempty"`
	// OutputBlocked is how long, in all, the command's output could not be written, because the disk was full or failed. Nothing of
	// it was lost; the command had to wait.
	OutputBlocked time.Duration `json:"output_blocked,omitempty"`
	// Error says why the command never ran.
	Error string `json:"error,omitempty"`
}

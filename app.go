package berth

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Application is an entry of the catalogue: an image with an AppDef, which says what commands it has.
type Application struct {
	// ID is what a submission names as app: [A-Za-z0-9._-], at most 64 characters, unique.
	ID string
	// Owner is the user who added it.
	Owner string
	// Team may use it too, and Public applications everybody may.
	Team   string
	Public bool
	// Certified applications may be given a token of the job, as %APIKEY%, whoever submits them.
	Certified bool
	// Image is the normalised reference that runs.
	Image string
	// AppDef is the AppDef as JSON, as it was checked by package appdef. It is empty in listings: it can be large.
	AppDef string
	// Commands are the keys of the AppDef's commands, in their order, and AppDefVersion is the version of its format.
	Commands      []string
	AppDefVersion int
	// Price is in units of the site's choice for each job and hour.
	Price   float64
	Created time.Time
	Updated time.Time
}

// VisibleTo says whether a user may see and submit the application.
func (a Application) VisibleTo(u User) bool {
	return a.Public || u.Admin || a.Owner == u.Name && u.Name != "" || a.Team != "" && a.Team == u.Team
}

// Queue is a name for an application on a machine type, for submissions of HPC scripts.
type Queue struct {
	// Name is [A-Za-z0-9._-], unique. DefaultQueue is always there.
	Name string
	// Application gives the image; empty until an administrator sets one.
	Application string
	// Machine is the machine type for submissions that name none.
	Machine string
	// Size is the largest number of nodes of one job.
	Size int
}

// DefaultQueue is the queue that clients use when nobody names one.
const DefaultQueue = "default"

// Run is what the first node of an application's job does. It holds secrets: it is kept apart from the job, shown to nobody, and
// deleted with the job's end.
type Run struct {
	// Argv is the command; with Shell it is "/bin/sh -l -c Shell" instead.
	Argv  []string `json:",omitempty"`
	Shell string   `json:",omitempty"`
	// Variables go to /etc/JARVICE/jobenv.sh, in their order, and into the environment. Env goes into the environment only.
	Variables []Setting         `json:",omitempty"`
	Env       map[string]string `json:",omitempty"`
	// Files are written before the start, for everybody to read; those with Executable can be run.
	Files []File `json:",omitempty"`
	// Init says that the command is an init, VerboseInit that the agent shall say more, Interactive that people connect to it.
	Init, VerboseInit, Interactive bool `json:",omitempty"`
	// Webshell says that the command runs on a terminal and starts when somebody first opens it, Desktop that it runs in the image's desktop.
	Webshell, Desktop bool `json:",omitempty"`
	// Actions are those that its application had when it was submitted.
	Actions []Action `json:",omitempty"`
	// URL is the template of its web page, empty for the image's own. NoConnect says that it shall not be shown.
	URL       string `json:",omitempty"`
	NoConnect bool   `json:",omitempty"`
	// Ports are those on which it may be reached besides that of its web page, and at a public address when it has one; nil is UsualPorts.
	Ports []Port `json:",omitzero"`
	// BasePath is the path of its web page on this server, without slashes around it, when the command was told so; else empty, and the
	// page is at the root of what the job serves.
	BasePath string `json:",omitempty"`
	// NumberMark stands for the number of the job in Argv, Shell, Variables and BasePath: a job is numbered when it is stored. Empty
	// when there is none to put in.
	NumberMark string `json:",omitempty"`
	// SSHKey is the private key of the job's user that belongs to Submission.SSHPublicKey.
	SSHKey []byte `json:",omitempty"`
	// Password is the job's, and Random 128 characters that only the job and those who may see it know.
	Password, Random string
	// Token is an API key of the job's own, valid until its end; empty when it needs none.
	Token string `json:",omitempty"`
}

// Numbered returns the run with the number of its job in the place of NumberMark.
func (r Run) Numbered(number int64) Run {
	if r.NumberMark == "" {
		return r
	}
	put := func(text string) string { return strings.ReplaceAll(text, r.NumberMark, strconv.FormatInt(number, 10)) }
	r.Shell, r.BasePath = put(r.Shell), put(r.BasePath)
	r.Argv, r.Variables = slices.Clone(r.Argv), slices.Clone(r.Variables)
	for i, argument := range r.Argv {
		r.Argv[i] = put(argument)
	}
	for i, variable := range r.Variables {
		r.Variables[i].Value = put(variable.Value)
	}
	r.NumberMark = ""
	return r
}

// Setting is a variable with its value.
type Setting struct{ Key, Value string }

// Action is something that a running job offers to do: Args is what a shell runs, Alt describes it for people.
type Action struct{ Name, Args, Alt string }

// File is a file that a job finds.
type File struct {
	// Path is absolute, in the container.
	Path       string
	Data       []byte
	Executable bool `json:",omitempty"`
}

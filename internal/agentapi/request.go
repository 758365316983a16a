package agentapi

import "time"

// Request asks the agent of a node whose command runs for something. Exactly one field is set.
type Request struct {
	Signal *SignalRequest `json:"signal,omitempty"`
	Action *ActionRequest `json:"action,omitempty"`
	Info   *InfoRequest   `json:"info,omitempty"`
	Shell  *ShellRequest  `json:"shell,omitempty"`
	// Display is for OpenDisplay, as Shell is for OpenShell.
	Display *DisplayRequest `json:"display,omitempty"`
}

// SignalRequest sends a signal to the command's process group, or hands its number to the program that the image names in the
// variable JARVICE_SIGNAL_OVERRIDE.
type SignalRequest struct {
	// Number is 1 to 64, as Linux numbers them.
	Number int `json:"number"`
}

// ActionRequest starts an action beside the command: as the job's user, in its environment, with its output in the job's output.
// The answer comes when it has been started.
type ActionRequest struct {
	Name string `json:"name"`
	// Command is what a shell runs. Empty: what the image has under this name in ActionsFile.
	Command string `json:"command,omitempty"`
}

// InfoRequest asks what the running node has to say about itself.
type InfoRequest struct{}

// AnswerWithin is how long the server waits for an answer. What an agent does for one takes less.
const AnswerWithin = 10 * time.Second

// MaxActionName bounds the name of an action, in bytes. Those with longer names do not exist.
const MaxActionName = 256

// ActionsFile is where an image keeps its actions: an object of Action by name, or that object as the member actions of another.
const ActionsFile = "/etc/NAE/actions.json"

// URLFile and HelpFile are where an image keeps the template of the address of its web page, and a page of help for its users.
const (
	URLFile  = "/etc/NAE/url.txt"
	HelpFile = "/etc/NAE/help.html"
)

// MaxURL and MaxHelp bound these files, in bytes.
const (
	MaxURL  = 4 << 10
	MaxHelp = 256 << 10
)

// Answer is the answer to a Request: Error, or the field of the same name.
type Answer struct {
	// Error says why it was not done. Its Code is for the server.
	Error  *Error        `json:"error,omitempty"`
	Signal *SignalAnswer `json:"signal,omitempty"`
	Action *ActionAnswer `json:"action,omitempty"`
	Info   *InfoAnswer   `json:"info,omitempty"`
	Shell  *ShellAnswer  `json:"shell,omitempty"`

	Display *DisplayAnswer `json:"display,omitempty"`
}

// ErrorCode says what kind of refusal an Error is.
type ErrorCode string

// The codes.
const (
	// CodeNotRunning: the command has not been started yet, or it has ended.
	CodeNotRunning ErrorCode = "not-running"
	// CodeInvalid: there is no such signal, action or display.
	CodeInvalid ErrorCode = "invalid"
	// CodeFailed: it was tried and did not work.
	CodeFailed ErrorCode = "failed"
)

// Error is a refusal of the agent. Text is for people.
type Error struct {
	Code ErrorCode `json:"code"`
	Text string    `json:"text"`
}

func (e *Error) Error() string { return e.Text }

// SignalAnswer says which process got the signal, numbered as inside the container. Both are what the override's program says when
// the image has one.
type SignalAnswer struct {
	Number int `json:"number"`
	PID    int `json:"pid"`
}

// ActionAnswer says which process the action is, numbered as inside the container.
type ActionAnswer struct {
	PID int `json:"pid"`
}

// InfoAnswer is what a node says about itself.
type InfoAnswer struct {
	// Address is the node's own IP address, empty when it has no network.
	Address string `json:"address,omitempty"`
	// Actions are those of ActionsFile by name; an unreadable file has none.
	Actions map[string]Action `json:"actions,omitempty"`
	// URL is the text of URLFile without the blanks around it, and Help that of HelpFile, as they are now: start scripts rewrite them.
	// Empty when the file is not there, is no text, or is longer than MaxURL and MaxHelp bytes.
	URL  string `json:"url,omitempty"`
	Help string `json:"help,omitempty"`
}

// Action is something that a running job offers to do.
type Action struct {
	// Args is what a shell runs, Alt describes it for people.
	Args string `json:"args"`
	Alt  string `json:"alt,omitempty"`
}

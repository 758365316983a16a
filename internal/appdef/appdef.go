// Package appdef reads AppDefs, the JSON descriptions of applications, and turns one of their commands with submitted parameters
// into a command line. It is pure: text in, data out.
package appdef

import (
	"path"
	"strings"
	"time"
)

// AppDef is a checked description of an application. It is not changed after Parse, so any number of goroutines may use it.
type AppDef struct {
	// Version is the version of the format: 1, also when the file does not say, or more. It decides how commands are run.
	Version                   int
	Name, Description, Author string
	// Licensed says that the user must have accepted a licence. HPC says that scripts of HPC clients may be submitted to it.
	Licensed, HPC bool
	Classifications,
	// Machines are patterns of machine types; VaultTypes the kinds of vaults that may be used, in capitals.
	Machines, VaultTypes []string
	// ScaleMax is the largest number of nodes, 0 for no limit.
	ScaleMax int
	// Walltime limits a job that asks for no limit of its own; 0 is none.
	Walltime time.Duration
	// Identity is who the commands run as; nil when the file does not say.
	Identity *Identity
	// Variables are account variables that jobs find in their environment.
	Variables []Variable
	Actions   []Action
	// Commands are in the order of the file.
	Commands []Command
	// Warnings are doubtful things in the file that do no harm, each as "place: sentence".
	Warnings []string
	// JSON is the text that was parsed.
	JSON []byte

	root value
}

// Identity is a user inside the job. What the file leaves out is empty or 0; a given id is never 0.
type Identity struct {
	Username, Group string
	UID, GID        int
}

// Variable is a variable of an account that an application wants to see. Key is the name of a shell variable.
type Variable struct {
	Key, Name, Description string
	// UserOwned variables are set by users, Inherit says that the payer's value is used when the user has none.
	UserOwned, Inherit, Required bool
}

// Action is something that can be asked of a running job: a shell text, and a description for people.
type Action struct {
	Name, Args, Alt string
}

// Command is one way to start the application.
type Command struct {
	// Key is what a submission names, Name is for people.
	Key, Name, Description string
	// Path is the program, perhaps with arguments behind blanks.
	Path string
	// Interactive jobs can be connected to. Desktop and Webshell imply it. What version 2 brought is false in version 1.
	Interactive, Desktop, Webshell, VerboseInit, PublicIP, NoConnect, MPIRun bool
	// URL is a template of where users connect; empty for what the image says.
	URL string
	// Ports are to be open on a public address; nil when the file does not say, not nil for an empty list.
	Ports []Port
	// Script is the text to run in place of a program of the image; empty for none.
	Script string
	// Machines, ScaleMax and Walltime are those of the application when the command has none.
	Machines  []string
	ScaleMax  int
	Walltime  time.Duration
	Variables []Variable
	// Parameters are in the order of the file, which is that of the arguments.
	Parameters []Parameter

	// nested commands describe a Kubernetes cluster and cannot be run.
	nested bool
}

// Port is one port of a public address.
type Port struct {
	Number int
	// Protocol is tcp, udp or sctp.
	Protocol string
}

// Type is the type of a parameter.
type Type string

// The types of parameters.
const (
	Const     Type = "CONST"
	Str       Type = "STR"
	Int       Type = "INT"
	Float     Type = "FLOAT"
	Range     Type = "RANGE"
	Bool      Type = "BOOL"
	File      Type = "FILE"
	Upload    Type = "UPLOAD"
	Selection Type = "selection"
)

// types are all of them, in the order in which they are listed for people.
var types = []Type{Const, Str, Int, Float, Range, Bool, File, Upload, Selection}

// Parameter is one parameter of a command.
type Parameter struct {
	// Key is what a submission and the command line name, Name is for people.
	Key, Name, Description string
	Type                   Type
	// Positional parameters are values without their key, behind all others. Variable ones become variables of the job instead.
	Positional, Required, Variable bool
	// Default is the value that is taken when none is submitted; empty for none. For CONST it is the value.
	Default string
	// Min, Max and Step bound numbers; nil when there is no bound.
	Min, Max, Step *float64
	// Precision is the number of decimals of a FLOAT that are kept, -1 for all.
	Precision int
	// Values are the choices of a selection, MachineValues what the command gets for each; empty when that is the same.
	Values, MachineValues []string
	// If and IfNot are keys of BOOL parameters that must all be true, or all be false, for the parameter to take part.
	If, IfNot []string
	// Target is where an UPLOAD appears, below /opt. Size is its largest size in bytes, 0 when the file does not say.
	Target string
	Size   int
	// Filter guides the dialogs of portals.
	Filter string

	// placed says that the file has the key positional or variable, whatever its value. condition says that the parameter is
	// named by an if or ifnot.
	placed, condition bool
}

// Command returns the command that a submission names.
func (a *AppDef) Command(key string) (*Command, bool) {
	for i := range a.Commands {
		if a.Commands[i].Key == key {
			return &a.Commands[i], true
		}
	}
	return nil, false
}

// AllowsMachine says whether the command may run on a machine type. The patterns are those of the shell; one that is none matches
// nothing but its own text. A command without patterns may run everywhere.
func (c *Command) AllowsMachine(name string) bool {
	for _, pattern := range c.Machines {
		// path.Match knows [^a] and not the shell's [!a]; a machine type has no slash that * would stop at.
		if matched, err := path.Match(strings.ReplaceAll(pattern, "[!", "[^"), name); matched && err == nil || pattern == name {
			return true
		}
	}
	return len(c.Machines) == 0
}

// AllowsNodes says whether the command may run on that many nodes.
func (c *Command) AllowsNodes(nodes int) bool { return c.ScaleMax == 0 || nodes <= c.ScaleMax }

// Error lists what is wrong with an AppDef, or with what was submitted to one, each as "place: sentence". The texts are made for
// the person who sent it.
type Error struct {
	Problems []string
}

func (e *Error) Error() string { return strings.Join(e.Problems, "; ") }

package appdef

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	// maxArgument is what Linux takes as one argument or variable, in bytes; maxArguments bounds them together.
	maxArgument  = 128<<10 - 1
	maxArguments = 1 << 20
	initPath     = "/sbin/init"
	// terminalPath is how commands of version 1 ask for a terminal in the browser, before there was a key for it.
	terminalPath = "/bin/gotty"
	// desktopPath is the program of an image that runs a command in its desktop.
	desktopPath = "/usr/local/bin/nimbix_desktop"
	// mpirun runs a program on all nodes with the Open MPI that the image has, or that the agent finds in its PATH.
	mpirun = "PATH=/opt/JARVICE/openmpi/bin:/opt/JARVICE/bin:$PATH " +
		"LD_LIBRARY_PATH=/opt/JARVICE/openmpi/lib:/opt/JARVICE/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} " +
		"/opt/JARVICE/openmpi/bin/mpirun -x PATH -x LD_LIBRARY_PATH -N %d --hostfile /etc/JARVICE/nodes "
)

// Setting is a variable of the job.
type Setting struct {
	Key, Value string
}

// Content is a file that the job finds.
type Content struct {
	// Path is absolute and clean.
	Path string
	Data []byte
}

// Rendered is what a job runs. It holds secrets when the application asks for them.
type Rendered struct {
	// Argv is the program and its arguments. In version 2 it is only for show and for Init: Shell says what to run.
	Argv []string
	// Shell is the text for /bin/sh -l -c in version 2; empty in version 1, where no shell takes part.
	Shell string
	// Variables are for the job's file of variables, in version 2 for the environment too, in the order of the AppDef. Shell counts
	// on it that they are in the environment.
	Variables []Setting
	// Uploads are files that were sent, below /opt.
	Uploads []Content
	// Script is to be written and made executable before the command starts; nil for none.
	Script *Content
	// Init asks for the boot of the image instead of one program. The words behind it are in Argv.
	Init bool
	// Desktop and Webshell say what the command is to be run in. Both make the job interactive.
	Interactive, Desktop, Webshell, VerboseInit bool
	// PublicIP, NoConnect, URL, Ports and Walltime are those of the command.
	PublicIP, NoConnect bool
	URL                 string
	Ports               []Port
	Walltime            time.Duration
	// Warnings tell what was sent and had no effect, each as "place: sentence".
	Warnings []string
}

// Render turns submitted parameters, each the JSON of one text, number or boolean, into what the command runs. Submitted values are
// data: each is one word of the command line, or one variable or file. Wrong ones are refused with an *Error that lists them all. It
// does not look at machines and nodes; see AllowsMachine and AllowsNodes.
func Render(app *AppDef, command string, values map[string]json.RawMessage, env Environment) (Rendered, error) {
	c, ok := app.Command(command)
	if !ok {
		keys := make([]string, len(app.Commands))
		for i := range app.Commands {
			keys[i] = app.Commands[i].Key
		}
		return Rendered{}, problem("application.command", fmt.Errorf("%s is not one of %s", quote(command), listed(keys)))
	}
	if c.nested {
		return Rendered{}, problem("application.command", fmt.Errorf("%s describes a Kubernetes cluster, which this server cannot run", quote(command)))
	}
	r := renderer{version: app.Version, command: c, env: env, on: map[string]bool{}, out: Rendered{
		Interactive: c.Interactive, Desktop: c.Desktop, Webshell: c.Webshell, VerboseInit: c.VerboseInit,
		PublicIP: c.PublicIP, NoConnect: c.NoConnect, URL: c.URL, Ports: c.Ports, Walltime: c.Walltime,
	}}
	r.submit(values)
	r.switches()
	for i := range c.Parameters {
		if par := &c.Parameters[i]; r.takesPart(par) && par.Variable {
			r.parameter(par)
		}
	}
	for i := range c.Parameters { // they may refer to variables
		if par := &c.Parameters[i]; r.takesPart(par) && !par.Variable {
			r.parameter(par)
		}
	}
	r.finish()
	if err := r.problems.err(); err != nil {
		return Rendered{}, err
	}
	r.out.Warnings = r.warnings.all()
	return r.out, nil
}

func problem(place string, err error) error {
	return &Error{Problems: []string{place + ": " + err.Error()}}
}

// word is one argument: its text, and how the shell is told of it.
type word struct {
	text, shell string
}

// renderer is the state of one Render.
type renderer struct {
	version int
	command *Command
	env     Environment
	// sent are the submitted values, on the BOOL parameters that are true.
	sent              map[string]value
	on                map[string]bool
	named, positional []word
	out               Rendered
	problems          notes
	warnings          notes
}

func parameterPlace(key string) string {
	return place{path: "application.parameters"}.at(key)
}

func (r *renderer) refuse(par *Parameter, err error) {
	r.problems.add(parameterPlace(par.Key), "%s", err)
}

// submit takes the values in, in the order of their keys so that the same mistakes give the same text.
func (r *renderer) submit(values map[string]json.RawMessage) {
	r.sent = make(map[string]value, len(values))
	known := make(map[string]Type, len(r.command.Parameters))
	for i := range r.command.Parameters {
		known[r.command.Parameters[i].Key] = r.command.Parameters[i].Type
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		switch t, ok := known[key]; {
		case !ok:
			r.warnings.add(parameterPlace(key), "the command %s has no such parameter; it is ignored", quote(r.command.Key))
			continue
		case t == Const:
			r.warnings.add(parameterPlace(key), "the value is fixed by the application; what was sent is ignored")
			continue
		}
		sent, err := parseJSON(values[key])
		if err != nil {
			r.problems.add(parameterPlace(key), "%s", err)
			continue
		}
		r.sent[key] = sent
	}
}

// switches evaluates all BOOL parameters: conditions look at them wherever they stand.
func (r *renderer) switches() {
	for i := range r.command.Parameters {
		par := &r.command.Parameters[i]
		if par.Type != Bool {
			continue
		}
		on, err := par.on(r.sent[par.Key])
		if err != nil {
			r.refuse(par, err)
		}
		r.on[par.Key] = on
	}
}

func (r *renderer) takesPart(par *Parameter) bool {
	isOff := func(key string) bool { return !r.on[key] }
	isOn := func(key string) bool { return r.on[key] }
	return !slices.ContainsFunc(par.If, isOff) && !slices.ContainsFunc(par.IfNot, isOn)
}

// parameter puts one parameter where it belongs.
func (r *renderer) parameter(par *Parameter) {
	switch par.Type {
	case Const:
		text := Substitute(par.Default, r.env.lookup)
		r.place(par, word{text: text, shell: r.constWord(par, text)})
	case Bool:
		r.boolean(par)
	case Upload:
		r.upload(par)
	default:
		r.given(par)
	}
}

// constWord returns how the shell is told of the value of a CONST parameter.
func (r *renderer) constWord(par *Parameter, text string) string {
	if r.version == 1 || par.Variable {
		return shellWord(text)
	}
	shell, err := expandable(par.Default, r.out.Variables, r.env.lookup)
	if err != nil {
		r.refuse(par, err)
	}
	return shell
}

// boolean prints the key of a parameter that is true. One that only is the condition of others says nothing to the command.
func (r *renderer) boolean(par *Parameter) {
	switch {
	case !r.on[par.Key], par.condition && !par.placed:
	case par.Variable:
		r.out.Variables = append(r.out.Variables, Setting{par.Key, strconv.FormatBool(true)})
	case par.Positional:
		r.positional = append(r.positional, word{par.Key, shellWord(par.Key)})
	default:
		r.named = append(r.named, word{par.Key, shellWord(par.Key)})
	}
}

func (r *renderer) upload(par *Parameter) {
	content, err := par.upload(r.sent[par.Key])
	switch {
	case err != nil:
		r.refuse(par, err)
	case content != nil:
		r.out.Uploads = append(r.out.Uploads, Content{Path: path.Join(uploadDir, par.Target), Data: content})
	case par.Required:
		r.refuse(par, errors.New("a file is required"))
	}
}

// given puts the value that was submitted, or the default, where it belongs. Without any the key is left out too.
func (r *renderer) given(par *Parameter) {
	text, err := par.resolve(r.sent[par.Key])
	switch {
	case err != nil:
		r.refuse(par, err)
	case text != "":
		r.place(par, word{text, r.submittedWord(text)})
	case par.Required:
		r.refuse(par, errors.New("a value is required"))
	}
}

func (r *renderer) submittedWord(text string) string {
	if r.version == 1 || !r.env.ExpandSubmitted {
		return shellWord(text)
	}
	none := func(string) (string, bool) { return "", false }
	shell, err := expandable(text, r.out.Variables, none)
	if err != nil { // only placeholders give errors
		return shellWord(text)
	}
	return shell
}

func (r *renderer) place(par *Parameter, w word) {
	switch {
	case par.Variable:
		r.out.Variables = append(r.out.Variables, Setting{par.Key, w.text})
	case par.Positional:
		r.positional = append(r.positional, w)
	default:
		r.named = append(r.named, word{par.Key, shellWord(par.Key)}, w)
	}
}

// finish puts the command line together.
func (r *renderer) finish() {
	program := strings.Fields(r.command.Path)
	r.out.Argv = program
	var shell strings.Builder
	shell.WriteString(r.command.Path)
	for _, w := range slices.Concat(r.named, r.positional) {
		r.out.Argv = append(r.out.Argv, w.text)
		shell.WriteByte(' ')
		shell.WriteString(w.shell)
	}
	r.out.Init = program[0] == initPath
	switch {
	case r.version > 1:
		r.out.Shell = shell.String()
		if r.command.Desktop {
			r.out.Argv, r.out.Shell = slices.Concat([]string{desktopPath}, r.out.Argv), desktopPath+" "+r.out.Shell
		}
		if r.command.MPIRun {
			r.out.Shell = fmt.Sprintf(mpirun, max(r.env.Cores, 1)) + r.out.Shell
		}
	case program[0] == terminalPath:
		r.terminal()
	}
	if r.command.Script != "" {
		script, err := decodeScript(r.command.Script)
		if err != nil {
			r.problems.add("application.command", "cmdscript: %s", err)
		}
		r.out.Script = &Content{Path: program[0], Data: []byte(script)}
	}
	r.checkSize()
}

// terminal turns a command of version 1 that starts the platform's terminal program into a web shell. What is to run in it is the
// words behind, or one word that holds them all.
func (r *renderer) terminal() {
	argv := r.out.Argv[1:]
	if len(argv) == 1 {
		argv = strings.Fields(argv[0])
	}
	if len(argv) == 0 {
		argv = []string{"/bin/sh", "-l"}
	}
	r.out.Argv, r.out.Webshell, r.out.Interactive = argv, true, true
}

// checkSize refuses what the kernel would not start, in words that say why.
func (r *renderer) checkSize() {
	total := 0
	arguments := slices.Clone(r.out.Argv)
	if r.version > 1 {
		arguments = []string{r.out.Shell}
	}
	for _, variable := range r.out.Variables {
		arguments = append(arguments, variable.Key+"="+variable.Value)
	}
	for _, argument := range arguments {
		total += len(argument)
		switch {
		case len(argument) > maxArgument:
			r.problems.add("application.parameters", "%s… has %d bytes in the command line, at most %d are allowed",
				quote(argument[:runeStart(argument, maxQuoted)]), len(argument), maxArgument)
		case strings.ContainsRune(argument, 0):
			r.problems.add("application.parameters", "the command line has a NUL byte")
		}
	}
	if total > maxArguments {
		r.problems.add("application.parameters", "the command line has %d bytes, at most %d are allowed", total, maxArguments)
	}
}

// runeStart returns where the last whole character of the first n bytes ends.
func runeStart(s string, n int) int {
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return n
}

package appdef

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

const (
	// maxSize bounds an AppDef in bytes. Most of a large one is its icon.
	maxSize       = 4 << 20
	byteOrderMark = "\ufeff"
	// kubernetesKind is the kind of applications that describe a Kubernetes cluster instead of a command.
	kubernetesKind = "kns"
)

// Parse reads and checks an AppDef. It takes what the public applications have in their files, however unlike the documentation, and
// puts what is doubtful into Warnings. The error is an *Error with all mistakes.
func Parse(source []byte) (*AppDef, error) {
	if len(source) > maxSize {
		return nil, &Error{Problems: []string{fmt.Sprintf("the AppDef has %d bytes, at most %d are allowed", len(source), maxSize)}}
	}
	source = bytes.TrimPrefix(source, []byte(byteOrderMark))
	root, err := parseJSON(source)
	if err != nil {
		return nil, &Error{Problems: []string{"the AppDef " + err.Error()}}
	}
	if root.kind != kindObject {
		return nil, &Error{Problems: []string{"the AppDef is not an object but " + string(root.kind)}}
	}
	r := &reader{}
	app := readApp(place{r, "", root})
	if err := r.problems.err(); err != nil {
		return nil, err
	}
	app.Warnings, app.JSON = r.warnings.all(), source
	return app, nil
}

func readApp(p place) *AppDef {
	p.checkKeys(appKeys)
	app := &AppDef{
		Version:         max(1, p.whole("appdefversion", 0)),
		Name:            p.text("name"),
		Description:     p.text("description"),
		Author:          p.text("author"),
		Licensed:        p.flag("licensed"),
		HPC:             p.flag("enablehpc"),
		Classifications: p.list("classifications"),
		Machines:        p.list("machines"),
		VaultTypes:      p.list("vault-types"),
		ScaleMax:        p.whole("scale_max", 0),
		Walltime:        p.walltime("walltime"),
		Identity:        readIdentity(p),
		Variables:       readVariables(p),
		Actions:         readActions(p),
		root:            p.value,
	}
	p.checkMachines(app.Machines)
	p.checkVaultTypes(app.VaultTypes)
	p.checkImage()
	if commands, ok := p.get("commands"); !ok || len(commands.members) == 0 && commands.kind == kindObject {
		p.problem("commands", "at least one command is needed")
	}
	p.objects("commands", func(key string, inner place) {
		app.Commands = append(app.Commands, readCommand(key, inner, app))
	})
	return app
}

func readIdentity(p place) *Identity {
	v, ok := p.get("identity")
	if !ok {
		return nil
	}
	if v.kind != kindObject {
		p.problem("identity", "%s is not an object", v)
		return nil
	}
	inner := place{p.reader, p.at("identity"), v}
	inner.checkKeys(identityKeys)
	identity := &Identity{
		Username: inner.text("username"),
		Group:    inner.text("group"),
		UID:      inner.whole("uid", 1),
		GID:      inner.whole("gid", 1),
	}
	inner.checkAccount("username", identity.Username)
	inner.checkAccount("group", identity.Group)
	return identity
}

func readVariables(p place) (variables []Variable) {
	p.objects("variables", func(key string, inner place) {
		inner.checkKeys(variableKeys)
		inner.checkVariable(key)
		variables = append(variables, Variable{
			Key:         key,
			Name:        inner.text("name"),
			Description: inner.text("description"),
			UserOwned:   inner.flag("userowned"),
			Inherit:     inner.flag("inherit"),
			Required:    inner.flag("required"),
		})
	})
	return variables
}

func readActions(p place) (actions []Action) {
	p.objects("actions", func(key string, inner place) {
		action := Action{Name: key, Args: inner.text("args"), Alt: inner.text("alt")}
		if action.Args == "" {
			inner.warn("args", "the action has nothing to run and is ignored")
			return
		}
		actions = append(actions, action)
	})
	return actions
}

func readCommand(key string, p place, app *AppDef) Command {
	p.checkKeys(commandKeys)
	c := Command{
		Key:         key,
		Name:        p.text("name"),
		Description: p.text("description"),
		Path:        strings.TrimSpace(p.text("path")),
		Interactive: p.flag("interactive"),
		Desktop:     p.flag("desktop"),
		Webshell:    p.flag("webshell"),
		VerboseInit: p.flag("verboseinit"),
		PublicIP:    p.flag("publicip"),
		NoConnect:   p.flag("noconnect"),
		MPIRun:      p.flag("mpirun"),
		URL:         p.text("url"),
		Script:      p.text("cmdscript"),
		Machines:    app.Machines,
		ScaleMax:    p.whole("scale_max", 0),
		Walltime:    p.walltime("walltime"),
		Variables:   readVariables(p),
	}
	if machines := p.list("machines"); machines != nil {
		p.checkMachines(machines)
		c.Machines = machines
	}
	if c.ScaleMax == 0 {
		c.ScaleMax = app.ScaleMax
	}
	if c.Walltime == 0 {
		c.Walltime = app.Walltime
	}
	c.Ports = readPorts(p)
	c.nested = isNested(p, app)
	if app.Version == 1 {
		p.warnVersion(commandKeys2)
		c.Desktop, c.Webshell, c.VerboseInit, c.MPIRun, c.Script = false, false, false, false, ""
	}
	c.Interactive = c.Interactive || c.Desktop || c.Webshell
	if !c.nested { // its parameters are none
		p.objects("parameters", func(key string, inner place) {
			c.Parameters = append(c.Parameters, readParameter(key, inner, app.Version))
		})
		p.checkCommand(&c, app.Version)
	}
	return c
}

// isNested says whether a command describes a Kubernetes cluster, under either spelling of the key that was published.
func isNested(p place, app *AppDef) bool {
	for _, level := range []value{app.root, p.value} {
		for _, key := range []string{"nested_kubernetes", "nestedkubernetes"} {
			if _, ok := level.get(key); ok {
				return true
			}
		}
	}
	v, _ := app.root.get("appkind")
	s, _ := v.scalar()
	return s == kubernetesKind
}

func readParameter(key string, p place, version int) Parameter {
	p.checkKeys(parameterKeys)
	par := Parameter{
		Key:         key,
		Name:        p.text("name"),
		Description: p.text("description"),
		Type:        Type(p.text("type")),
		Positional:  p.flag("positional"),
		Required:    p.flag("required"),
		Variable:    p.flag("variable"),
		Default:     p.text("value"),
		Filter:      p.text("filter"),
		Precision:   -1,
	}
	_, positional := p.get("positional")
	par.placed = positional || par.Variable
	if version == 1 {
		p.warnVersion(parameterKeys2)
	} else {
		par.If, par.IfNot = p.list("if"), p.list("ifnot")
	}
	switch par.Type {
	case "":
		par.Type = Str
	case Int, Float, Range:
		par.Min, par.Max = p.number("min"), p.number("max")
		if f := p.number("step"); f != nil && par.Type == Range {
			par.Step = f
		}
		if _, ok := p.get("precision"); ok {
			par.Precision = p.whole("precision", 0)
		}
	case Selection:
		par.Values, par.MachineValues = p.list("values"), p.list("mvalues")
	case Upload:
		par.Target, par.Size = p.text("target"), p.whole("size", 0)
	case Const, Str, Bool, File:
	default:
		if !slices.Contains(types, par.Type) {
			p.problem("type", "%s is not one of %s", quote(string(par.Type)), joinTypes())
		}
	}
	p.checkParameter(&par)
	return par
}

func joinTypes() string {
	names := make([]string, len(types))
	for i, t := range types {
		names[i] = string(t)
	}
	return strings.Join(names, ", ")
}

package appdef

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// The keys that are known at each level. Some of them mean nothing here but are no mistakes: portals export them.
var (
	appKeys = []string{
		"actions", "appdefversion", "appid", "appkind", "author", "certified", "checkedout", "classification_txt", "classifications",
		"commands", "description", "enablehpc", "hints", "id", "identity", "image", "image_icon", "licensed", "machines", "meta", "nae",
		"name", "nested_kubernetes", "nestedkubernetes", "owner", "price", "public", "scale_max", "team", "variables", "vault-types",
		"walltime",
	}
	commandKeys = []string{
		"cmdscript", "description", "desktop", "hints", "interactive", "machines", "mpirun", "name", "nested_kubernetes",
		"nestedkubernetes", "noconnect", "noqueue", "parameters", "path", "ports", "publicip", "scale_max", "url", "variables",
		"verboseinit", "walltime", "webshell",
	}
	parameterKeys = []string{
		"cmdscript", "description", "filter", "if", "ifnot", "max", "min", "mvalues", "name", "positional", "precision", "required",
		"size", "step", "target", "type", "value", "values", "variable",
	}
	variableKeys = []string{"description", "inherit", "name", "required", "userowned"}
	identityKeys = []string{"gid", "group", "uid", "username"}
	imageKeys    = []string{"data", "type"}

	// commandKeys2 and parameterKeys2 came with version 2 of the format.
	commandKeys2   = []string{"cmdscript", "desktop", "mpirun", "verboseinit", "webshell"}
	parameterKeys2 = []string{"if", "ifnot"}
)

// checkKeys warns of keys that nobody reads.
func (p place) checkKeys(known []string) {
	for _, m := range p.members {
		if slices.Contains(known, m.key) {
			continue
		}
		if i := slices.IndexFunc(known, func(key string) bool { return mistyped(m.key, key) }); i >= 0 {
			p.warn(m.key, "the key is unknown and ignored; is %q meant?", known[i])
			continue
		}
		p.warn(m.key, "the key is unknown and ignored")
	}
}

// mistyped says whether one wrong, missing or added character, or two swapped ones, tell a from b.
func mistyped(a, b string) bool {
	for a != "" && b != "" && a[0] == b[0] {
		a, b = a[1:], b[1:]
	}
	for a != "" && b != "" && a[len(a)-1] == b[len(b)-1] {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return len(a) <= 1 && len(b) <= 1 || len(a) == 2 && len(b) == 2 && a[0] == b[1] && a[1] == b[0]
}

// warnVersion warns of keys that have no effect in version 1.
func (p place) warnVersion(keys []string) {
	for _, key := range keys {
		if v, ok := p.get(key); ok && string(v.raw) != "false" {
			p.warn(key, `the key has no effect without "appdefversion": 2`)
		}
	}
}

// checkMachines warns of patterns that cannot be meant. They match nothing and so do no harm.
func (p place) checkMachines(patterns []string) {
	for _, pattern := range patterns {
		if _, err := path.Match(strings.ReplaceAll(pattern, "[!", "[^"), ""); err != nil || strings.ContainsAny(pattern, " \t\n<>/") {
			p.warn("machines", "%s is no pattern of machine types and matches none", quote(pattern))
		}
	}
}

func (p place) checkVaultTypes(kinds []string) {
	known := []string{"FILE", "BLOCK", "BLOCK_ARRAY", "OBJECT", "NONE"}
	for _, kind := range kinds {
		if !slices.Contains(known, kind) {
			p.warn("vault-types", "%s is not one of %s", quote(kind), strings.Join(known, ", "))
		}
	}
}

// checkImage looks at the icon, which is shown as it stands in the file.
func (p place) checkImage() {
	v, ok := p.get("image")
	switch {
	case !ok:
	case v.kind != kindObject:
		p.warn("image", "%s is not an object and is ignored", v)
	default:
		inner := place{p.reader, p.at("image"), v}
		inner.checkKeys(imageKeys)
		for _, key := range imageKeys {
			inner.text(key)
		}
	}
}

// checkAccount refuses names that no system would take for a user or group, and that of the administrator.
func (p place) checkAccount(key, name string) {
	const maxAccount = 32
	plain := strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789_.-") == ""
	if name != "" && (!plain || name == "root" || len(name) > maxAccount || strings.IndexByte("0123456789.-", name[0]) >= 0) {
		p.problem(key, "%s is not a name of up to %d of a-z A-Z 0-9 _ . -, a letter or _ first, other than root", quote(name), maxAccount)
	}
}

// checkVariable refuses names that would break the file of variables that jobs read.
func (p place) checkVariable(key string) {
	if identifier(key) != len(key) || key == "" {
		p.problems.add(p.path, "%s is not the name of a variable: letters, digits and _ are, no digit first", quote(key))
	}
}

func readPorts(p place) []Port {
	entries := p.list("ports")
	if entries == nil {
		return nil
	}
	ports := []Port{}
	for _, entry := range entries {
		digits, protocol, found := strings.Cut(entry, "/")
		if !found {
			p.warn("ports", "%s is read as %s/tcp", quote(entry), entry)
			protocol = "tcp"
		}
		n, err := strconv.ParseUint(digits, 10, 16)
		protocol = strings.ToLower(protocol)
		if err != nil || n == 0 || !slices.Contains([]string{"tcp", "udp", "sctp"}, protocol) {
			p.problem("ports", "%s is not a port and tcp, udp or sctp, as in 8080/tcp", quote(entry))
			continue
		}
		if len(ports) > 0 && ports[0].Protocol != protocol {
			p.warn("ports", "%s and %s are mixed", ports[0].Protocol, protocol)
		}
		ports = append(ports, Port{Number: int(n), Protocol: protocol})
	}
	return ports
}

func (p place) checkParameter(par *Parameter) {
	if par.Variable {
		p.checkVariable(par.Key)
	}
	v, hasValue := p.get("value")
	switch par.Type {
	case Const:
		if !hasValue {
			p.problem("value", "a CONST needs a value")
		}
	case Bool:
		if _, ok := v.bool(); hasValue && !ok {
			p.problem("value", "%s is not true or false", v)
		}
	case Upload:
		if !validTarget(par.Target) {
			p.problem("target", "%s is not a path below /opt", quote(par.Target))
		}
	case Int, Float, Range, Str, File, Selection:
		if _, err := par.resolve(value{}); err != nil && par.Default != "" {
			p.warn("value", "%s", err)
		}
	}
	if par.Type == Selection {
		p.checkSelection(par)
	}
	if par.Step != nil && *par.Step <= 0 {
		p.warn("step", "%s is not above 0 and is ignored", formatFloat(*par.Step))
	}
	if par.Min != nil && par.Max != nil && *par.Min > *par.Max {
		p.warn("min", "%s is more than the max of %s: no value is allowed", formatFloat(*par.Min), formatFloat(*par.Max))
	}
}

func (p place) checkSelection(par *Parameter) {
	if len(par.Values) == 0 {
		p.warn("values", "a selection without values takes any text")
		return
	}
	if n := len(par.MachineValues); n > 0 && n != len(par.Values) {
		p.problem("mvalues", "%d values are listed for the %d of values", n, len(par.Values))
	}
}

// checkCommand checks what concerns more than one member.
func (p place) checkCommand(c *Command, version int) {
	program, _, _ := strings.Cut(c.Path, " ")
	switch {
	case c.Path == "":
		p.problem("path", "a command needs the path of its program")
	case c.Script != "" && (!strings.HasPrefix(program, "/") || path.Clean(program) != program || program == "/"):
		p.problem("path", "%s is not the absolute path of a file, which the cmdscript is written to", quote(program))
	case version > 1 && !closed(c.Path):
		p.problem("path", "%s would take the arguments behind it for something else", quote(c.Path))
	case !strings.HasPrefix(c.Path, "/"):
		p.warn("path", "%s is not an absolute path", quote(program))
	}
	if _, err := decodeScript(c.Script); err != nil {
		p.problem("cmdscript", "%s", err)
	}
	if c.MPIRun {
		p.warn("mpirun", "this server brings no MPI along: the image needs an Open MPI, in its PATH or at /opt/JARVICE/openmpi")
	}
	uploads, switches := 0, map[string]*Parameter{}
	for i := range c.Parameters {
		par := &c.Parameters[i]
		if par.Type == Upload {
			uploads++
		}
		if par.Type == Bool {
			switches[par.Key] = par
		}
	}
	for _, par := range c.Parameters {
		for _, key := range slices.Concat(par.If, par.IfNot) {
			if switches[key] == nil {
				p.warn("parameters."+par.Key, "%s in if or ifnot is no BOOL of this command and counts as false", quote(key))
				continue
			}
			switches[key].condition = true
		}
	}
	if uploads > 1 {
		p.problem("parameters", "%d parameters are of type UPLOAD, one is allowed", uploads)
	}
}

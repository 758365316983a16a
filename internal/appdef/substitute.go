package appdef

import (
	"strconv"
	"strings"
)

// Environment is what the values of CONST parameters may refer to, and how they are treated.
type Environment struct {
	// APIURL ends in a slash. APIUser and APIKey are credentials of the job's own; all three are empty for jobs that get none.
	APIURL, APIUser, APIKey string
	// Cores is the number of cores of each node.
	Cores, Nodes int
	// GPUs and RAM, in GB, are those of the first node, OtherGPUs and OtherRAM those of each other node.
	GPUs, OtherGPUs, RAM, OtherRAM int
	JobLabel, MachineType          string
	// VaultType is NONE, FILE, OBJECT, BLOCK or BLOCK_ARRAY.
	VaultType, VaultName string
	// BasePath is the path of the job's web service, with or without a leading slash; empty when it is the root.
	BasePath string
	// Random are 128 random characters of the job, Password is its password.
	Random, Password string
	// ExpandSubmitted lets the job's shell expand $ in submitted values too, in applications of version 2. Users can then run
	// commands that the application does not have.
	ExpandSubmitted bool
}

// lookup returns what a placeholder stands for.
func (e *Environment) lookup(name string) (string, bool) {
	others := max(e.Nodes-1, 0)
	switch name {
	case "APIURL":
		return e.APIURL, true
	case "APIUSER":
		return e.APIUser, true
	case "APIKEY":
		return e.APIKey, true
	case "CORES":
		return strconv.Itoa(e.Cores), true
	case "NODES":
		return strconv.Itoa(e.Nodes), true
	case "TCORES":
		return strconv.Itoa(e.Cores * e.Nodes), true
	case "GPUS":
		return strconv.Itoa(e.GPUs), true
	case "SGPUS":
		return strconv.Itoa(e.OtherGPUs), true
	case "TGPUS":
		return strconv.Itoa(e.GPUs + others*e.OtherGPUs), true
	case "RAM":
		return strconv.Itoa(e.RAM), true
	case "SRAM":
		return strconv.Itoa(e.OtherRAM), true
	case "TRAM":
		return strconv.Itoa(e.RAM + others*e.OtherRAM), true
	case "JOBLABEL":
		return e.JobLabel, true
	case "MACHINETYPE":
		return e.MachineType, true
	case "VTYPE":
		return e.VaultType, true
	case "VNAME":
		return e.VaultName, true
	case "BASEURL":
		return "/" + strings.Trim(e.BasePath, "/"), true
	case "NIMBIXPASSWD":
		return e.Password, true
	default:
		return RandomPart(e.Random, name)
	}
}

// RandomPart returns what RANDOM16, RANDOM32, RANDOM64 or RANDOM128 stands for: the first characters of random.
func RandomPart(random, name string) (string, bool) {
	digits, found := strings.CutPrefix(name, "RANDOM")
	n, err := strconv.Atoi(digits)
	if !found || err != nil || n != 16 && n != 32 && n != 64 && n != 128 {
		return "", false
	}
	return random[:min(n, len(random))], true
}

// Substitute replaces every %NAME% in a text that lookup knows, also inside of words. Others stay as they are, and what was put in is
// not looked at again.
func Substitute(text string, lookup func(name string) (string, bool)) string {
	var out strings.Builder
	for text != "" {
		if name, after, ok := placeholder(text); ok {
			if replacement, known := lookup(name); known {
				out.WriteString(replacement)
				text = after
				continue
			}
		}
		next := strings.IndexByte(text[1:], '%') + 1
		if next == 0 {
			next = len(text)
		}
		out.WriteString(text[:next])
		text = text[next:]
	}
	return out.String()
}

// placeholder returns the name of the placeholder that a text starts with and what follows it.
func placeholder(text string) (name, after string, ok bool) {
	if !strings.HasPrefix(text, "%") {
		return "", "", false
	}
	name, after, ok = strings.Cut(text[1:], "%")
	return name, after, ok && identifier(name) == len(name) && name != ""
}

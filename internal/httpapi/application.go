package httpapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/berth-hpc/berth"
)

// Limits of what a submission of an application may hold, besides that of the whole.
const (
	// maxMembers bounds parameters and variables: a client sends the whole environment of its user.
	maxMembers = 4096
	// maxDigits bounds numbers in bytes. Clients in Python refuse to read very long ones again.
	maxDigits = 64
	// maxUmask is 0777.
	maxUmask = 1<<9 - 1
)

type rawApplication struct {
	Command    json.RawMessage `json:"command"`
	Geometry   json.RawMessage `json:"geometry"`
	IPAddr     json.RawMessage `json:"ipaddr"`
	NoSubmit   json.RawMessage `json:"nosubmit"`
	Parameters json.RawMessage `json:"parameters"`
	Walltime   json.RawMessage `json:"walltime"`
}

type rawHPC struct {
	EnvConfig json.RawMessage `json:"hpc_job_env_config"`
	Envs      json.RawMessage `json:"hpc_envs"`
	Queue     json.RawMessage `json:"hpc_queue"`
	Resources json.RawMessage `json:"hpc_resources"`
	Script    json.RawMessage `json:"hpc_job_script"`
	Shell     json.RawMessage `json:"hpc_job_shell"`
	Umask     json.RawMessage `json:"hpc_umask"`
}

// application decodes what applies to every job, and what is for applications only when one was named: clients that know nothing
// else send it with containers too.
func (d *decoder) application(raw json.RawMessage, sub *submission) {
	var app rawApplication
	if d.object("application", raw, &app) {
		sub.NoSubmit = d.flag("application.nosubmit", app.NoSubmit)
		sub.Walltime = d.walltime("application.walltime", app.Walltime)
		sub.Geometry = d.geometry("application.geometry", app.Geometry)
		sub.IPAddr = d.address("application.ipaddr", app.IPAddr)
	}
	if !sub.runsApplication() {
		return
	}
	sub.Command = d.word("application.command", app.Command)
	sub.Parameters = d.parameters("application.parameters", app.Parameters)
	if sub.HPC != nil {
		sub.Command = cmp.Or(sub.Command, berth.HPCCommand)
	}
}

// parameters decodes values of any keys. They stay JSON, as texts, numbers and booleans that every client can read again.
func (d *decoder) parameters(path string, raw json.RawMessage) map[string]json.RawMessage {
	var sent map[string]json.RawMessage
	if !d.object(path, raw, &sent) || !d.fewMembers(path, len(sent)) {
		return nil
	}
	values := make(map[string]json.RawMessage, len(sent))
	for _, key := range slices.Sorted(maps.Keys(sent)) {
		value := sent[key]
		if !d.memberKey(path, key) || kindOf(value) == kindNull {
			continue
		}
		values[key] = d.scalar(path+"."+key, value)
	}
	return values
}

// scalar decodes a text, a number or a boolean and returns it as JSON. Texts are written anew when they hold escapes: halves of
// characters, which clients choke on, do not survive that.
func (d *decoder) scalar(path string, raw json.RawMessage) json.RawMessage {
	switch kindOf(raw) {
	case kindText:
		text := d.anyText(path, raw)
		if !slices.Contains(raw, '\\') {
			return raw
		}
		normal, err := encodeJSON(text)
		if err != nil { // a string always encodes
			panic(err)
		}
		return normal
	case kindNumber:
		if _, err := strconv.ParseFloat(string(raw), 64); err != nil || len(raw) > maxDigits {
			d.sent(path, raw, fmt.Sprintf("a number of at most %d characters is allowed", maxDigits))
		}
		return raw
	case kindBool:
		return raw
	case kindNull, kindObject, kindArray:
	}
	d.sent(path, raw, "a text, a number, true or false is allowed")
	return nil
}

// hpc decodes the script of a front end of a batch system. It names the queue where everybody reads it.
func (d *decoder) hpc(raw json.RawMessage, sub *submission) {
	var hpc rawHPC
	if !d.object("hpc", raw, &hpc) {
		return
	}
	sub.HPC = &berth.HPC{
		Queue:     d.word("hpc.hpc_queue", hpc.Queue),
		EnvConfig: d.anyText("hpc.hpc_job_env_config", hpc.EnvConfig),
		Shell:     d.anyText("hpc.hpc_job_shell", hpc.Shell),
		Script:    d.anyText("hpc.hpc_job_script", hpc.Script),
		Envs:      d.textsByName("hpc.hpc_envs", hpc.Envs),
		Umask:     d.whole("hpc.hpc_umask", hpc.Umask, bounds{high: maxUmask}),
		Resources: d.textsByName("hpc.hpc_resources", hpc.Resources),
	}
	sub.Queue = cmp.Or(sub.HPC.Queue, sub.Queue)
}

// textsByName decodes an object of texts; numbers and booleans become texts.
func (d *decoder) textsByName(path string, raw json.RawMessage) map[string]string {
	var sent map[string]json.RawMessage
	if !d.object(path, raw, &sent) || !d.fewMembers(path, len(sent)) {
		return nil
	}
	texts := make(map[string]string, len(sent))
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		value := sent[name]
		switch {
		case !d.memberKey(path, name):
		case strings.Contains(name, "="):
			d.problem(path, "the key "+quote(name)+" was sent, one without = is allowed")
		case kindOf(value) == kindNumber, kindOf(value) == kindBool:
			texts[name] = string(value)
		default:
			texts[name] = d.anyText(path+"."+name, value)
		}
	}
	return texts
}

func (d *decoder) fewMembers(path string, count int) bool {
	if count > maxMembers {
		d.problem(path, fmt.Sprintf("an object with %d members was sent, at most %d are allowed", count, maxMembers))
	}
	return count <= maxMembers
}

// memberKey says whether a key can be used and shown.
func (d *decoder) memberKey(path, key string) bool {
	switch {
	case key == "" || len(key) > maxWord:
		d.problem(path, fmt.Sprintf("a key of %d bytes was sent, 1 to %d are allowed", len(key), maxWord))
	case strings.ContainsFunc(key, unicode.IsControl):
		d.problem(path, "the key "+quote(key)+" was sent, one without control characters is allowed")
	default:
		return true
	}
	return false
}

package agent

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-hpc/berth/internal/agentapi"
)

const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// environment returns the variables of the command: those of the image, over them the client's, over them what the platform promises,
// over them the job's.
func (s *setup) environment(image []string) []string {
	env := make(map[string]string, len(image)+20)
	maps.Copy(env, s.openMPIDefaults())
	for _, variable := range image {
		if name, value, ok := strings.Cut(variable, "="); ok && name != "" {
			env[name] = value
		}
	}
	if env["PATH"] == "" {
		env["PATH"] = defaultPath
	}
	for name, value := range s.spec.Env {
		if name != "PATH" && !strings.HasPrefix(name, "JARVICE_") {
			env[name] = value
		}
	}
	maps.Copy(env, platformVariables(s.spec))
	maps.Copy(env, s.mpi)
	env["HOME"], env["SHELL"] = s.home, s.shell
	if s.spec.Random != "" {
		env["JARVICE_JOBTOKEN"] = s.spec.Random
	}
	for _, variable := range s.spec.Variables {
		env[variable.Key] = variable.Value
	}

	list := make([]string, 0, len(env))
	for _, name := range slices.Sorted(maps.Keys(env)) {
		list = append(list, name+"="+env[name])
	}
	return list
}

func platformVariables(spec agentapi.Spec) map[string]string {
	return map[string]string{
		"USER":             spec.User.Name,
		"LOGNAME":          spec.User.Name,
		"HOSTNAME":         spec.Hostname,
		"JOB_NAME":         spec.Name,
		"JOB_LABEL":        spec.Label,
		"JOB_PRIVATEIP":    spec.Nodes[0].Address,
		"JOB_PUBLICIP":     spec.PublicAddress,
		"JARVICE_ID_USER":  spec.User.Name,
		"JARVICE_ID_GROUP": spec.User.Group,
		"JARVICE_ID_UID":   strconv.Itoa(spec.User.UID),
		"JARVICE_ID_GID":   strconv.Itoa(spec.User.GID),
	}
}

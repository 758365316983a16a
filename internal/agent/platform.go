package agent

import (
	"errors"
	"strings"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// writePlatformFiles leaves what programs of the platform look for in /etc/JARVICE and /var/JARVICE.
func (s *setup) writePlatformFiles() error {
	var nodes, cores, hosts strings.Builder
	for _, node := range s.spec.Nodes {
		nodes.WriteString(node.Name + "\n")
		cores.WriteString(strings.Repeat(node.Name+"\n", max(1, node.Cores)))
		hosts.WriteString(addressOf(node) + " " + node.Name + "\n")
	}
	return errors.Join(
		s.write("/etc/JARVICE/nodes", nodes.String()),
		s.write("/etc/JARVICE/cores", cores.String()),
		s.write("/etc/JARVICE/jobinfo.sh", jobInfo(s.spec)),
		s.write("/etc/JARVICE/jobenv.sh", jobEnv(s.spec.Variables)),
		s.write("/var/JARVICE/c/hosts", hosts.String()))
}

// jobInfo tells scripts about the job.
func jobInfo(spec agentapi.Spec) string {
	return ":\n" +
		"JOB_NAME=" + doubleQuoted(spec.Name) + "\n" +
		"JOB_LABEL=" + word(spec.Label) + "\n" +
		"JOB_PRIVATEIP=" + word(spec.Nodes[0].Address) + "\n" +
		"JOB_PUBLICIP=" + word(spec.PublicAddress) + "\n"
}

// jobEnv holds the variables of the job, except those whose names a shell cannot assign.
func jobEnv(variables []agentapi.Setting) string {
	var text strings.Builder
	text.WriteString(":\n")
	for _, variable := range variables {
		if isIdentifier(variable.Key) {
			text.WriteString(variable.Key + "=" + escaped(variable.Value) + "\n")
		}
	}
	return text.String()
}

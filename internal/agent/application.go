package agent

import (
	"fmt"
	"strings"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// initArguments is where the init of an image finds the words that follow it in the command.
const initArguments = "/etc/JARVICE/cmdline"

// writeProgram leaves what the command needs to run. Its error means that it cannot be run.
func (s *setup) writeProgram() error {
	if s.spec.Script != "" {
		if err := s.root.write(scriptPath, s.owned([]byte(s.spec.Script), 0o500)); err != nil {
			return fmt.Errorf("job script: %w", err)
		}
	}
	for _, f := range s.spec.Files {
		mode := uint32(0o644)
		if f.Executable {
			mode = rwxForAll
		}
		if err := s.root.write(f.Path, file{data: f.Data, mode: mode}); err != nil {
			return fmt.Errorf("file of the application: %w", err)
		}
	}
	if s.spec.Init && len(s.spec.Argv) > 0 {
		// The user's own, because some images write it themselves, and nobody else's: there may be secrets in it.
		words := strings.Join(s.spec.Argv[1:], " ")
		if err := s.root.write(initArguments, s.owned([]byte(words+"\n"), 0o600)); err != nil {
			return fmt.Errorf("arguments of the init: %w", err)
		}
	}
	return nil
}

// sayCommand tells what is going to run, if that is wanted, and nothing that gives access to the job.
func (s *setup) sayCommand() {
	if !s.spec.VerboseInit {
		return
	}
	hide := hider(s.spec)
	for i, argument := range argvOf(s.spec) {
		s.out.say("VERBOSE - argv[%d] : %s", i, hide.Replace(argument))
	}
}

// hider puts asterisks in the place of what is secret.
func hider(spec agentapi.Spec) *strings.Replacer {
	var pairs []string
	for _, secret := range append(spec.Secrets, spec.Password, spec.Random) {
		if secret != "" {
			pairs = append(pairs, secret, "***")
		}
	}
	for n := len(spec.Random) / 2; n >= 16; n /= 2 { // applications are given the first characters of it too
		pairs = append(pairs, spec.Random[:n], "***")
	}
	return strings.NewReplacer(pairs...)
}

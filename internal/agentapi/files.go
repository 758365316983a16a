package agentapi

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// CheckFile returns nil when a job may have a file of its own (Spec.Files) at this path, else why not. What is mounted, what the agent
// writes itself, and the accounts of the container are not the job's to give; and the path must be absolute and clean.
func CheckFile(name string) error {
	if !path.IsAbs(name) || path.Clean(name) != name || name == "/" || strings.ContainsRune(name, 0) {
		return errors.New("the path is not absolute and clean")
	}
	if strings.HasPrefix(name, Dir) { // the agent too
		return fmt.Errorf("no job may have it at %s", Dir)
	}
	for _, taken := range []string{
		"/data", "/proc", "/sys", "/dev", "/etc/JARVICE", "/var/JARVICE", "/etc/passwd", "/etc/group", "/etc/shadow",
	} {
		if name == taken || strings.HasPrefix(name, taken+"/") {
			return fmt.Errorf("no job may have it at %s", taken)
		}
	}
	return nil
}

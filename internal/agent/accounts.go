package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// Of an image that has none.
const (
	minimalPasswd = "root:x:0:0:root:/root:/bin/sh\n"
	minimalGroup  = "root:x:0:\n"
)

// configureUser makes the job's user and group known to the container.
func (s *setup) configureUser() error {
	user := s.spec.User
	passwd := s.existing("/etc/passwd", minimalPasswd)
	s.shell = s.shellOf(passwd, user.Name)
	entry := fmt.Sprintf("%s:x:%d:%d:%s:%s:%s", user.Name, user.UID, user.GID, user.Name, s.home, s.shell)
	passwd = placeEntry(passwd, entry)

	group := s.existing("/etc/group", minimalGroup)
	group = placeEntry(group, groupEntry(group, user))
	return errors.Join(s.write("/etc/passwd", passwd), s.write("/etc/group", group))
}

// existing returns a text file of the image. One that nothing could read as such is replaced.
func (s *setup) existing(name, otherwise string) string {
	text, err := s.root.read(name)
	switch {
	case err == nil:
		return string(text)
	case errors.Is(err, fs.ErrNotExist):
		return otherwise
	default:
		s.warn(fmt.Errorf("made anew: %w", err))
		return otherwise
	}
}

// shellOf returns the login shell: the one that the image wants for this user, or a customary one that is there.
func (s *setup) shellOf(passwd, user string) string {
	candidates := []string{"/bin/bash"}
	if i := slices.IndexFunc(strings.Split(passwd, "\n"), func(line string) bool { return field(line, 0) == user }); i >= 0 {
		candidates = []string{field(strings.Split(passwd, "\n")[i], 6), "/bin/bash"}
	}
	for _, shell := range candidates {
		if strings.HasPrefix(shell, "/") && s.root.exists(shell) {
			return shell
		}
	}
	return "/bin/sh"
}

// groupEntry keeps the members that the image gave to a group of this name.
func groupEntry(group string, user agentapi.User) string {
	members := ""
	for line := range strings.SplitSeq(group, "\n") {
		if field(line, 0) == user.Group {
			members = field(line, 3)
			break
		}
	}
	return fmt.Sprintf("%s:x:%d:%s", user.Group, user.GID, members)
}

// placeEntry puts an entry into a passwd or group file. Entries of the same name go. Entries of the same id stay, because files of
// the image may depend on their names, but behind the new one: whoever looks for the id finds ours first. Lines that nobody
// understands stay where they are.
func placeEntry(text, entry string) string {
	if text == "" {
		return entry + "\n"
	}
	name, id := field(entry, 0), field(entry, 2)
	var lines []string
	placed := false
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		same := field(line, 0) == name
		// A line that starts with + means everything that some network service knows, ours possibly among it.
		if !placed && (same || field(line, 2) == id || strings.HasPrefix(line, "+")) {
			lines = append(lines, entry)
			placed = true
		}
		if !same {
			lines = append(lines, line)
		}
	}
	if !placed {
		lines = append(lines, entry)
	}
	return strings.Join(lines, "\n") + "\n"
}

// field returns one of the fields of a line, which colons separate; numbers without leading zeros, as getpwuid reads them.
func field(line string, n int) string {
	parts := strings.Split(strings.TrimSuffix(line, "\r"), ":")
	if n >= len(parts) {
		return ""
	}
	if id, err := strconv.Atoi(parts[n]); err == nil && n == 2 {
		return strconv.Itoa(id)
	}
	return parts[n]
}

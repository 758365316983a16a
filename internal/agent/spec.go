package agent

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/agentapi"
)

var errInvalidSpec = errors.New("invalid job specification")

// checkDir makes sure that dir is the server's: an image or a vault mounted over it must not give orders to the agent.
func checkDir(dir string) error {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
	fd, err := unix.Openat2(unix.AT_FDCWD, dir, &how)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if stat.Uid != 0 || stat.Mode&0o077 != 0 {
		return fmt.Errorf("%s belongs to user %d with mode %#o: want root and 0700", dir, stat.Uid, stat.Mode&permissions)
	}
	return nil
}

// readSpec returns the specification in dir. Whatever is wrong with it wraps errInvalidSpec.
func readSpec(dir string) (agentapi.Spec, error) {
	var spec agentapi.Spec
	text, err := os.ReadFile(filepath.Join(dir, agentapi.SpecFile))
	if err != nil {
		return spec, fmt.Errorf("%w: %w", errInvalidSpec, err)
	}
	if err := json.Unmarshal(text, &spec); err != nil {
		return spec, fmt.Errorf("%w: %w", errInvalidSpec, err)
	}
	if err := addPeers(&spec, dir); err != nil {
		return spec, fmt.Errorf("%w: %w", errInvalidSpec, err)
	}
	if err := checkSpec(spec); err != nil {
		return spec, fmt.Errorf("%w: %w", errInvalidSpec, err)
	}
	return spec, nil
}

// checkSpec refuses what would let a value out of the line or the file that it is written to. The server has checked more.
func checkSpec(spec agentapi.Spec) error {
	if !isName(spec.User.Name) || spec.User.Name == "root" {
		return fmt.Errorf("user name %q", spec.User.Name)
	}
	if !isName(spec.User.Group) || spec.User.Group == "root" {
		return fmt.Errorf("group name %q", spec.User.Group)
	}
	if !isID(spec.User.UID) || !isID(spec.User.GID) {
		return fmt.Errorf("user id %d, group id %d", spec.User.UID, spec.User.GID)
	}
	if spec.Data.Path != "" && !filepath.IsAbs(spec.Data.Path) {
		return fmt.Errorf("data path %q", spec.Data.Path)
	}
	if strings.ContainsRune(spec.Name+spec.Label, 0) {
		return errors.New("name or label holds a NUL byte")
	}
	return cmp.Or(checkCommand(spec), checkVariables(spec), checkFiles(spec), checkConnection(spec), checkNetwork(spec))
}

// checkCommand wants exactly one command.
func checkCommand(spec agentapi.Spec) error {
	commands := 0
	for _, given := range []bool{spec.Script != "", spec.Shell != "", len(spec.Argv) > 0} {
		if given {
			commands++
		}
	}
	if commands != 1 {
		return fmt.Errorf("there are %d of script, shell and argv", commands)
	}
	if strings.ContainsRune(spec.Script+spec.Shell+strings.Join(spec.Argv, ""), 0) {
		return errors.New("the command holds a NUL byte")
	}
	if len(spec.Argv) > 0 && spec.Argv[0] == "" {
		return errors.New("the command is empty")
	}
	return nil
}

func checkVariables(spec agentapi.Spec) error {
	for name, value := range spec.Env {
		if !isVariable(name, value) {
			return fmt.Errorf("variable %q", name)
		}
	}
	for _, variable := range spec.Variables {
		if !isVariable(variable.Key, variable.Value) {
			return fmt.Errorf("variable %q", variable.Key)
		}
	}
	return nil
}

func isVariable(name, value string) bool {
	return name != "" && !strings.ContainsAny(name, "=\x00") && !strings.ContainsRune(value, 0)
}

// checkFiles keeps files out of what is not the job's, and out of the vault wherever it is.
func checkFiles(spec agentapi.Spec) error {
	vault := filepath.Clean(spec.Data.Path)
	for _, f := range spec.Files {
		if err := agentapi.CheckFile(f.Path); err != nil {
			return fmt.Errorf("file %q: %w", f.Path, err)
		}
		if spec.Data.Path != "" && (f.Path == vault || strings.HasPrefix(f.Path, vault+"/")) {
			return fmt.Errorf("file %q: no job may have it at %s", f.Path, vault)
		}
	}
	return nil
}

// checkConnection is about what goes to files of one line.
func checkConnection(spec agentapi.Spec) error {
	for name, text := range map[string]string{"password": spec.Password, "random text": spec.Random, "geometry": spec.Geometry} {
		if strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return fmt.Errorf("the %s holds blanks or control characters", name)
		}
	}
	return nil
}

func checkNetwork(spec agentapi.Spec) error {
	self := false
	for _, node := range spec.Nodes {
		if !isName(node.Name) {
			return fmt.Errorf("node name %q", node.Name)
		}
		if _, err := netip.ParseAddr(node.Address); node.Address != "" && err != nil {
			return fmt.Errorf("address of node %q: %w", node.Name, err)
		}
		if spec.SSH != nil && node.Address == "" && node.Name != spec.Hostname {
			return fmt.Errorf("node %q has no address", node.Name)
		}
		self = self || node.Name == spec.Hostname
	}
	if !self {
		return fmt.Errorf("host name %q is none of the nodes", spec.Hostname)
	}
	for _, server := range spec.Nameservers {
		if _, err := netip.ParseAddr(server); err != nil {
			return fmt.Errorf("name server: %w", err)
		}
	}
	for _, domain := range spec.Search {
		if domain == "" || strings.ContainsFunc(domain, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
			return fmt.Errorf("search domain %q", domain)
		}
	}
	return nil
}

// isName accepts names of users, groups and hosts: letters, digits and ._@- as long as they are no path and no option.
func isName(name string) bool {
	if strings.Trim(name, ".") == "" || strings.HasPrefix(name, "-") || strings.HasPrefix(name, "+") {
		return false
	}
	return !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r == 0x7f || strings.ContainsRune(`:/,\"'$`+"`", r)
	})
}

func isID(id int) bool { return 0 < id && id < math.MaxUint32 }

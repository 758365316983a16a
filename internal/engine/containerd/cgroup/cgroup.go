// Package cgroup looks after the control groups of attempts from outside, for when containerd or its shim has lost them. It
// understands version 1, version 2, and machines with both.
package cgroup

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Parent is the control group that those of all attempts are in.
const Parent = "/berth"

const (
	mountPoint = "/sys/fs/cgroup"
	// killTimeout is how long killed processes may take to leave their group.
	killTimeout = 30 * time.Second
	killPause   = 5 * time.Millisecond
)

// Group is the control group of one attempt, in every hierarchy that has it.
type Group struct {
	id    string
	roots []string
}

// Path is the control group's path for runc.
func Path(id string) string { return filepath.Join(Parent, id) }

// Of returns the group of an attempt, which need not exist.
func Of(id string) Group {
	group := Group{id: id, roots: []string{mountPoint}}
	var fs unix.Statfs_t
	if err := unix.Statfs(mountPoint, &fs); err == nil && fs.Type == unix.CGROUP2_SUPER_MAGIC {
		return group
	}
	// Version 1, or both: a hierarchy of each controller, and links for those that share one.
	entries, err := os.ReadDir(mountPoint)
	if err != nil {
		return group
	}
	group.roots = nil
	for _, entry := range entries {
		if entry.IsDir() {
			group.roots = append(group.roots, filepath.Join(mountPoint, entry.Name()))
		}
	}
	return group
}

// dirs returns the directories of the group that are there.
func (g Group) dirs() []string {
	var dirs []string
	for _, root := range g.roots {
		dir := filepath.Join(root, Path(g.id))
		if _, err := os.Stat(dir); err == nil {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// Exists says whether the group is there, perhaps empty.
func (g Group) Exists() bool { return len(g.dirs()) > 0 }

// Populated says whether a process is in the group.
func (g Group) Populated() (bool, error) {
	for _, dir := range g.dirs() {
		pids, err := processes(dir)
		if err != nil {
			return false, err
		}
		if len(pids) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// OOMKills returns how many processes of the group the kernel killed because the memory was used up; 0 when that is not known.
func (g Group) OOMKills() int {
	// memory.events is version 2's, memory.oom_control version 1's.
	for _, dir := range g.dirs() {
		for _, name := range []string{"memory.events", "memory.oom_control"} {
			if n, ok := counter(filepath.Join(dir, name), "oom_kill"); ok {
				return n
			}
		}
	}
	return 0
}

// counter reads one line "key number" of a control file.
func counter(path, key string) (int, bool) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	value, ok := field(string(text), key)
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(value)
	return n, err == nil
}

// field returns the value of a line "key value".
func field(text, key string) (value string, ok bool) {
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == key {
			return value, true
		}
	}
	return "", false
}

// Remove kills every process of the group, waits until they are gone, and removes it. Safe to call for one that is not there.
func (g Group) Remove(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	for {
		left, err := g.removeOnce()
		if err != nil || !left {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("processes of %s do not end: %w", g.id, context.Cause(ctx))
		case <-time.After(killPause):
		}
	}
}

// removeOnce kills and removes what it can; left says whether something is still there.
func (g Group) removeOnce() (left bool, err error) {
	for _, dir := range g.dirs() {
		if err := g.kill(dir); err != nil {
			return false, err
		}
		switch err := unix.Rmdir(dir); {
		case err == nil, errors.Is(err, unix.ENOENT):
		case errors.Is(err, unix.EBUSY), errors.Is(err, unix.ENOTEMPTY):
			left = true
		default:
			return false, fmt.Errorf("remove control group %s: %w", dir, err)
		}
	}
	return left, nil
}

// Kill kills every process of the group and returns at once; with process 1 of a container all others of it end. Safe to call for
// one that is not there.
func (g Group) Kill() error {
	for _, dir := range g.dirs() {
		if err := g.kill(dir); err != nil {
			return err
		}
	}
	return nil
}

func (g Group) kill(dir string) error {
	pids, err := processes(dir)
	if err != nil {
		return err
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill process %d of %s: %w", pid, g.id, err)
		}
	}
	return nil
}

// processes lists those of a group's directory.
func processes(dir string) ([]int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENODEV) {
		return nil, nil // it was removed meanwhile
	}
	if err != nil {
		return nil, fmt.Errorf("processes of %s: %w", dir, err)
	}
	var pids []int
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		pid, err := strconv.Atoi(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("processes of %s: %w", dir, err)
		}
		if pid > 0 { // 0 is a process outside of this process's namespace
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/engine"
)

// Usage returns what the group has used up to now. A memory limit of 0 is none. The error wraps fs.ErrNotExist when no process is
// in the group.
func (g Group) Usage() (engine.Usage, error) {
	dirs := g.dirs()
	usage, err := usageIn(dirs)
	if err != nil && len(g.dirs()) < len(dirs) { // it was removed meanwhile
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	if err != nil {
		return engine.Usage{}, fmt.Errorf("usage of control group %s: %w", g.id, err)
	}
	return usage, nil
}

// unlimited is the least that version 1 means by no limit: the largest number, rounded down to a page of any size.
const unlimited = math.MaxInt64 - 1<<16 + 1

func usageIn(dirs []string) (engine.Usage, error) {
	if len(dirs) == 0 {
		return engine.Usage{}, fs.ErrNotExist
	}
	usage := engine.Usage{At: time.Now().UTC()}
	// For each figure the file of version 2 and that of version 1; machines with both have one of them.
	processes, err := value(dirs, figure{file: "pids.current"})
	if err != nil {
		return usage, err
	}
	if usage.Processes = int(processes); processes == 0 {
		return usage, fs.ErrNotExist
	}
	cpu, err := value(dirs, figure{file: "cpu.stat", key: "usage_usec", unit: 1000}, figure{file: "cpuacct.usage"})
	if err != nil {
		return usage, err
	}
	usage.CPU = time.Duration(cpu)
	memory, err := value(dirs, figure{file: "memory.current"}, figure{file: "memory.usage_in_bytes"})
	if err != nil {
		return usage, err
	}
	// The file cache that was not used lately: the kernel takes it first. Kubernetes counts the same way.
	cache, err := value(dirs, figure{file: "memory.stat", key: "total_inactive_file"}, figure{file: "memory.stat", key: "inactive_file"})
	if err != nil {
		return usage, err
	}
	usage.Memory = max(0, memory-cache)
	usage.MemoryLimit, err = value(dirs, figure{file: "memory.max"}, figure{file: "memory.limit_in_bytes"})
	if usage.MemoryLimit >= unlimited {
		usage.MemoryLimit = 0
	}
	return usage, err
}

// figure is where the kernel tells a number: a file that holds it alone, or as a line "key number". unit is what it counts, 1 when
// it is 0.
type figure struct {
	file, key string
	unit      int64
}

// value returns the first of the figures that one of the directories has.
func value(dirs []string, figures ...figure) (int64, error) {
	for _, f := range figures {
		for _, dir := range dirs {
			n, err := f.read(dir)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
				continue
			}
			return n, err
		}
	}
	return 0, fmt.Errorf("no file %s", figures[0].file)
}

// read returns the number; the error wraps fs.ErrNotExist when the directory has none.
func (f figure) read(dir string) (int64, error) {
	text, err := os.ReadFile(filepath.Join(dir, f.file))
	if err != nil {
		return 0, err
	}
	number := strings.TrimSpace(string(text))
	if f.key != "" {
		var ok bool
		if number, ok = field(string(text), f.key); !ok {
			return 0, fmt.Errorf("%s in %s: %w", f.key, f.file, fs.ErrNotExist)
		}
	}
	if number == "max" {
		return math.MaxInt64, nil
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", f.file, err)
	}
	return n * max(1, f.unit), nil
}

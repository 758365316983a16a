package agent

import (
	"os"
	"strconv"
	"strings"
)

// oomKills returns how many processes of this container the kernel killed for want of memory, as far as the container can see:
// the files are those of cgroup v2 and v1.
func oomKills(root string) int {
	for _, name := range []string{"/sys/fs/cgroup/memory.events", "/sys/fs/cgroup/memory/memory.oom_control"} {
		text, err := os.ReadFile(root + name)
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(text), "\n") {
			if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
				kills, _ := strconv.Atoi(count) // 0 when the kernel says something new
				return kills
			}
		}
	}
	return 0
}

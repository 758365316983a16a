package private

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"text/template"
)

// configText is for containerd 1.6 and later; 2.x reads version 2 too. Left out is everything that berth does not use, above all
// Kubernetes' interface. Deleted snapshots are freed within seconds: jobs leave much scratch behind. containerd's own score for
// the out-of-memory killer stays what it is, because some machines do not let it be lowered.
var configText = template.Must(template.New("config.toml").Parse(`version = 2
root = {{.Root}}
state = {{.State}}
oom_score = 0
disabled_plugins = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.internal.v1.opt",
  "io.containerd.internal.v1.restart",
  "io.containerd.internal.v1.tracing",
  "io.containerd.monitor.v1.cgroups",
  "io.containerd.nri.v1.nri",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.erofs",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp",
]

[grpc]
  address = {{.Address}}

[debug]
  level = "warn"

[plugins."io.containerd.gc.v1.scheduler"]
  deletion_threshold = 1
  schedule_delay = "2s"
`))

// writeConfig leaves the configuration file beside the state.
func (d *Daemon) writeConfig() error {
	var text bytes.Buffer
	err := configText.Execute(&text, map[string]string{
		"Root": strconv.Quote(d.root), "State": strconv.Quote(d.ContainerdState()), "Address": strconv.Quote(d.Address()),
	})
	if err == nil {
		err = os.WriteFile(d.configPath(), text.Bytes(), 0o600)
	}
	if err != nil {
		return fmt.Errorf("configuration of the private containerd: %w", err)
	}
	return nil
}

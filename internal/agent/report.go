package agent

import (
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/wholefile"
)

// writeReport replaces the report. It waits while the disk is full.
func writeReport(dir string, report agentapi.Report) error {
	text, err := json.Marshal(report)
	if err == nil {
		err = untilRoom(func() error { return wholefile.Write(filepath.Join(dir, agentapi.ReportFile), text, 0o600) })
	}
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// writeReport replaces the report. It waits while the disk is full.
func writeReport(dir string, report agentapi.Report) error {
	text, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	final := filepath.Join(dir, agentapi.ReportFile)
	temporary := final + ".new"
	return untilRoom(func() error {
		if err := writeSynced(temporary, text); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		if err := os.Rename(temporary, final); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		return nil
	})
}

func writeSynced(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

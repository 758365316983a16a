package agentapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ReadReport returns the agent's report in a job's directory. It is always whole: the agent renames it into place. The error
// wraps fs.ErrNotExist when the agent has not begun.
func ReadReport(dir string) (Report, error) {
	var report Report
	text, err := os.ReadFile(filepath.Join(dir, ReportFile))
	if err != nil {
		return report, fmt.Errorf("agent's report: %w", err)
	}
	if err := json.Unmarshal(text, &report); err != nil {
		return report, fmt.Errorf("agent's report: %w", err)
	}
	return report, nil
}

// Begun says whether the agent has begun in a job's directory: whether its output file is there and not empty, or its report is there,
// which outlives a failure of the power.
func Begun(dir string) (bool, error) {
	for _, sign := range []struct {
		file string
		size int64
	}{{OutputFile, 1}, {ReportFile, 0}} {
		info, err := os.Stat(filepath.Join(dir, sign.file))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return false, fmt.Errorf("what the agent has written: %w", err)
		case info.Size() >= sign.size:
			return true, nil
		}
	}
	return false, nil
}

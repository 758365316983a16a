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

// Begun says whether the agent has begun in a job's directory: whether its output file is there and not empty.
func Begun(dir string) (bool, error) {
	info, err := os.Stat(filepath.Join(dir, OutputFile))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("output of the attempt: %w", err)
	default:
		return info.Size() > 0, nil
	}
}

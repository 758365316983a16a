package agentapi

import (
	"encoding/json"
	"fmt"
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

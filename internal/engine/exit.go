package engine

import (
	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
)

// ExitOf returns the exit that a final report of the agent (Ended set) means. A command that could not even be set up counts as
// one that ran and failed, because its output says why.
func ExitOf(report agentapi.Report) berth.Exit {
	return berth.Exit{
		Known:       true,
		Ran:         !report.Started.IsZero() || report.Error != "",
		Code:        report.ExitCode,
		Signal:      report.Signal,
		OutOfMemory: report.OOMKills > 0,
		Detail:      report.Error,
	}
}

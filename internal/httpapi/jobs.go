package httpapi

import (
	"bufio"
	"net/http"
	"strconv"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/api"
	"github.com/berth-hpc/berth/internal/control"
)

// status answers an object with one member: the number and what the job is.
func (s *server) status(c *call, caller berth.Caller, ref control.JobRef) error {
	job, err := s.control.Job(c.r.Context(), caller, ref)
	if err != nil {
		return err
	}
	return c.writeJSON(map[string]statusEntry{strconv.FormatInt(job.Number, 10): newStatusEntry(job)})
}

// jobs lists the caller's jobs, teamJobs those of everybody in the team whose jobs the caller may see.
func (s *server) jobs(c *call, caller berth.Caller, p params) error {
	return s.listJobs(c, caller, p, false)
}

func (s *server) teamJobs(c *call, caller berth.Caller, p params) error {
	return s.listJobs(c, caller, p, true)
}

// listJobs answers an object keyed by the jobs' numbers, in their order, and sends it job by job: encoding/json would order the keys as
// texts, and hold all of them at once.
func (s *server) listJobs(c *call, caller berth.Caller, p params, team bool) error {
	c.w.Header().Set("Content-Type", contentJSON)
	out := bufio.NewWriterSize(c.w, 32<<10)
	separator, now := `"`, s.cfg.Now()
	_, _ = out.WriteString("{") // an error stays until Flush
	for job, err := range s.control.Jobs(c.r.Context(), caller, control.JobsFilter{
		Ended: p.flag("completed"), All: p.flag("all"), Label: p.text("label"), LabelExact: p.flag("exactmatch"),
		Team: team,
	}) {
		if err != nil {
			return err
		}
		entry, err := encodeJSON(newJobEntry(job, now))
		if err != nil {
			return err
		}
		_, _ = out.WriteString(separator + strconv.FormatInt(job.Number, 10) + `":`)
		if _, err := out.Write(entry); err != nil {
			return err
		}
		separator = `,"`
	}
	_, _ = out.WriteString("}")
	return out.Flush()
}

// statusAnswer is the answer of operations that have nothing else to say.
type statusAnswer struct {
	Status  string `json:"status"`
	Version string `json:"version,omitempty"`
}

func (s *server) live(c *call) error {
	return c.writeJSON(statusAnswer{Status: "OK"})
}

func (s *server) ready(c *call) error {
	if err := s.control.Ready(c.r.Context()); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: "OK", Version: s.cfg.Version})
}

func (s *server) openapi(c *call) error {
	contract, err := api.JSON()
	if err != nil {
		return err
	}
	c.write(http.StatusOK, contentJSON, contract)
	return nil
}

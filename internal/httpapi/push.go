package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// pull gives an application another image. It is done when it is answered; what it says is what clients know.
func (s *server) pull(c *call, caller berth.Caller, p params) error {
	repo := p.text("repo")
	if _, err := s.control.ChangeApplication(c.r.Context(), caller, p.text("target"), control.ApplicationChange{Image: &repo}); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: "Pull successfully scheduled"})
}

// build says that this server runs images and makes none.
func (s *server) build(*call, berth.Caller, params) error {
	return &berth.Error{Kind: berth.Unsupported, Msg: "This server builds no images", Detail: "build it elsewhere and pull it"}
}

// history answers what was done to an application, a line for each act, the newest first; nothing for one that the caller does not see.
func (s *server) history(c *call, caller berth.Caller, p params) error {
	limit, err := p.auditLimit()
	if err != nil {
		return err
	}
	var text strings.Builder
	_, err = s.control.Application(c.r.Context(), caller, p.text("target"))
	switch {
	case berth.KindOf(err) == berth.NotFound:
	case err != nil:
		return err
	default:
		records, err := s.control.Audit(c.r.Context(), caller, control.AuditFilter{Subject: p.text("target"), Limit: limit})
		if err != nil {
			return err
		}
		absolute := strings.EqualFold(p.text("reltime"), "false")
		for _, r := range records {
			when := s.cfg.Now().Sub(r.Act.At).Truncate(time.Second).String() + " ago"
			if absolute {
				when = stamp(r.Act.At)
			}
			fmt.Fprintf(&text, "%s  %s\n", when, oneLine(withDetail(string(r.Act.Kind)+" by "+r.Act.By, r.Act.Detail)))
		}
	}
	c.write(http.StatusOK, contentText, []byte(text.String()))
	return nil
}

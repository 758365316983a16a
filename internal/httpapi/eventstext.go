package httpapi

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// eventsText answers what happened to a job for people, a line for each event, and then why it waits.
func (s *server) eventsText(c *call, caller berth.Caller, ref control.JobRef) error {
	ex, err := s.control.Explain(c.r.Context(), caller, ref)
	if err != nil {
		return err
	}
	var text strings.Builder
	for i, r := range ex.Records {
		if ex.LeftOut > 0 && i == control.FirstRecords {
			fmt.Fprintf(&text, "… %d more …\n", ex.LeftOut)
		}
		fmt.Fprintf(&text, "%s  %s\n", r.Event.At.UTC().Format(time.RFC3339), oneLine(eventSentence(r.Event)))
	}
	if ex.Forecast != nil {
		for _, sentence := range forecastSentences(*ex.Forecast) {
			text.WriteString(oneLine(sentence) + "\n")
		}
	}
	c.write(http.StatusOK, contentText, []byte(text.String()))
	return nil
}

// oneLine makes a text one line of valid UTF-8: parts of it come from programs that berth does not know.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
}

// eventSentence says for people what happened.
func eventSentence(ev berth.Event) string {
	switch ev.Kind {
	case berth.EventSubmitted:
		return by("submitted", ev)
	case berth.EventPlaced:
		return "placed on " + strings.Join(ev.Hosts, ", ")
	case berth.EventWaiting:
		wait := waitSubstatus(ev.Wait).text
		if wait == "" {
			return "waits no more"
		}
		return withDetail(strings.ToLower(wait[:1])+wait[1:], ev.Detail)
	case berth.EventStarted:
		return "started"
	case berth.EventStopRequested:
		return by("shutdown requested", ev)
	case berth.EventTerminateRequested:
		return by("termination requested", ev)
	case berth.EventSignaled:
		return by("signal "+strconv.Itoa(ev.Signal)+" sent", ev)
	case berth.EventActionRequested:
		return by("action "+strconv.Quote(ev.Detail)+" started", ev)
	case berth.EventStopping:
		return "stopping"
	case berth.EventEnded:
		return withDetail(exitSentence(ev.Exit), ev.Exit.Detail)
	case berth.EventStaging:
		return withDetail(exitSentence(ev.Exit)+", copying data back", ev.Exit.Detail)
	case berth.EventStaged:
		if ev.Detail == "" {
			return "data copied back"
		}
		return withDetail("data not copied back", ev.Detail)
	case berth.EventRefused:
		return withDetail("refused", ev.Detail)
	}
	return string(ev.Kind)
}

func by(what string, ev berth.Event) string {
	if ev.By == "" {
		return what
	}
	return what + " by " + ev.By
}

func withDetail(what, detail string) string {
	if detail == "" {
		return what
	}
	return what + ": " + detail
}

func exitSentence(exit berth.Exit) string {
	var how string
	switch {
	case exit.Node != "":
		return "ended, because its node " + exit.Node + " ended"
	case !exit.Known:
		return "ended, and how cannot be learned"
	case !exit.Ran:
		return "ended before its command ran"
	case exit.Signal != 0:
		how = "ended by signal " + strconv.Itoa(exit.Signal)
	default:
		how = "ended with exit code " + strconv.Itoa(exit.Code)
	}
	if exit.OutOfMemory {
		how += ", out of memory"
	}
	return how
}

// forecastSentences say for people why a job waits and until when.
func forecastSentences(f berth.Forecast) []string {
	lines := []string{"waits as number " + strconv.Itoa(f.Position) + " of the queue"}
	for _, b := range f.Blockers {
		lines = append(lines, withDetail("held back", b.Detail))
	}
	if f.Start.IsZero() {
		return append(lines, "when it starts is not known")
	}
	return append(lines, "starts at "+f.Start.UTC().Format(time.RFC3339)+" or before")
}

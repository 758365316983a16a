package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"

	"github.com/berth-hpc/berth/client"
)

// clean makes one harmless line of a text that came from elsewhere: no control characters, which a terminal would obey.
func clean(text string) string {
	text = strings.TrimSpace(strings.ToValidUTF8(text, "\uFFFD"))
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsPrint(r):
			return r
		default:
			return '\uFFFD'
		}
	}, text)
}

// table writes rows in columns; the first row is the head. Empty cells show as "-".
func table(w io.Writer, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if cell = clean(cell); cell == "" {
				cell = "-"
			}
			if i > 0 {
				fmt.Fprint(tw, "\t")
			}
			fmt.Fprint(tw, cell)
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// printLines writes titles and values below each other; what is empty is left out.
func (a *app) printLines(lines [][2]string) error {
	for _, line := range lines {
		if value := clean(line[1]); value != "" {
			if _, err := fmt.Fprintf(a.stdout, "%-13s %s\n", line[0], value); err != nil {
				return err
			}
		}
	}
	return nil
}

// memory shows bytes as people count memory.
func memory(bytes int64) string { return humanize.IBytes(uint64(max(bytes, 0))) }

// withDetail adds a detail that may be empty.
func withDetail(what, detail string) string {
	if detail == "" {
		return what
	}
	return what + ": " + detail
}

// moment shows a time where the person is, "" for one that has not come.
func (a *app) moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(a.location).Format(time.DateTime)
}

// clock shows a duration as HH:MM:SS, rounded down.
func clock(d time.Duration) string {
	seconds := int64(max(d, 0) / time.Second)
	return fmt.Sprintf("%02d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
}

// describeEnd says how a job ended, in the words of a person.
func describeEnd(job client.Job) string {
	if job.End == nil {
		return ""
	}
	end := job.End
	sentence := map[string]string{
		"exited":        fmt.Sprintf("the command exited with code %d", end.ExitCode),
		"signaled":      fmt.Sprintf("signal %d ended the command", end.Signal),
		"out-of-memory": "the machine type's memory was used up, and the kernel ended the command",
		"shutdown":      fmt.Sprintf("shut down%s; the command ended with code %d", by(end.By), end.ExitCode),
		"terminated":    "terminated" + by(end.By),
		"walltime":      "its walltime was over",
		"node-failed":   "one of its nodes failed",
		"not-saved":     "not all of its data was copied to the vault",
		"lost":          "how it ended could not be learned",
		"refused":       "it could not be started",
		"canceled":      "canceled before it ran" + by(end.By),
	}[end.Reason]
	if sentence == "" {
		sentence = end.Reason
	}
	if end.Detail != "" {
		sentence += ": " + end.Detail
	}
	return sentence
}

func by(user string) string {
	if user == "" {
		return ""
	}
	return " by " + user
}

// summary is one line about an ended job.
func summary(job client.Job) string {
	line := fmt.Sprintf("job %d: %s", job.Number, job.Status)
	if how := describeEnd(job); how != "" {
		line += ": " + how
	}
	if !job.Started.IsZero() {
		line += ", after " + clock(ran(job))
	}
	return line
}

// ran is how long an ended job ran.
func ran(job client.Job) time.Duration {
	if job.WalltimeSeconds > 0 {
		return time.Duration(job.WalltimeSeconds * float64(time.Second))
	}
	return job.Ended.Sub(job.Started)
}

// doing says what a job waits for or does, "" when there is nothing to say.
func doing(substatus int, text string) string {
	if text == "" && substatus != 0 {
		return fmt.Sprintf("substatus %d", substatus)
	}
	return text
}

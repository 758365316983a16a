package httpapi

import (
	"fmt"
	"time"

	"github.com/berth-hpc/berth"
)

// The words of the JARVICE API for where a job is.
const (
	wordSubmitted  = "SUBMITTED"
	wordProcessing = "PROCESSING STARTING"
	wordCompleted  = "COMPLETED"
	wordFailed     = "COMPLETED WITH ERROR"
	wordTerminated = "TERMINATED"
	wordCanceled   = "CANCELED"
)

// statusWord returns the JARVICE word for where a job is. There is no word for running alone.
func statusWord(job berth.Job) string {
	switch job.State {
	case berth.StateQueued:
		return wordSubmitted
	case berth.StateStarting:
		if job.Preparing() {
			return wordSubmitted
		}
		return wordProcessing
	case berth.StateRunning, berth.StateStopping, berth.StateStagingOut:
		return wordProcessing
	case berth.StateCompleted:
		return wordCompleted
	case berth.StateFailed:
		return wordFailed
	case berth.StateTerminated:
		return wordTerminated
	case berth.StateCanceled:
		return wordCanceled
	}
	return wordSubmitted
}

// substatus is a number of the JARVICE API with its sentence.
type substatus struct {
	number int
	text   string
}

var shuttingDown = substatus{9, "Shutting down"}

// substatusOf returns what a job waits for or does besides running. An ended job that has more to say than its exit code has the
// number 0 and a sentence.
func substatusOf(job berth.Job) substatus {
	if job.State.Final() {
		return substatus{0, job.End.Detail}
	}
	sub := waitSubstatus(job.Wait)
	if job.Wish != berth.WishNone && job.State.Active() && job.State != berth.StateStagingOut {
		return shuttingDown
	}
	if job.State == berth.StateRunning && !job.Suspended.IsZero() {
		return substatus{8, "Suspended by user"}
	}
	if sub.number != 0 && job.WaitDetail != "" {
		sub.text += ": " + job.WaitDetail
	}
	return sub
}

func waitSubstatus(wait berth.Wait) substatus {
	switch wait {
	case berth.WaitNone:
		return substatus{}
	case berth.WaitResources:
		return substatus{1, "Waiting for resources"}
	case berth.WaitVault:
		return substatus{4, "Waiting for the vault"}
	case berth.WaitStagingIn:
		return substatus{6, "Staging data in"}
	case berth.WaitStagingOut:
		return substatus{7, "Staging data out"}
	case berth.WaitImage:
		return substatus{5, "Pulling the image"}
	case berth.WaitStopping:
		return shuttingDown
	}
	return substatus{}
}

// clock formats a duration as HH:MM:SS; the hours grow beyond two digits.
func clock(d time.Duration) string {
	seconds := int64(d / time.Second)
	return fmt.Sprintf("%02d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
}

// unix returns the seconds of the epoch, 0 for a time that has not come.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

package berth

import (
	"fmt"
	"strconv"
	"strings"
)

// NewAttempt returns the id of an attempt of a job: berth-<number>-<random>. It names the job's container, so random makes it
// unique even when several servers share an engine; [a-z0-9]+.
func NewAttempt(number int64, random string) string {
	return fmt.Sprintf("berth-%d-%s", number, random)
}

// AttemptJob returns the number of the job that an attempt belongs to. ok is false for an id that NewAttempt did not make.
func AttemptJob(attempt string) (number int64, ok bool) {
	rest, found := strings.CutPrefix(attempt, "berth-")
	digits, random, dashed := strings.Cut(rest, "-")
	number, err := strconv.ParseInt(digits, 10, 64)
	return number, found && dashed && random != "" && err == nil && number > 0
}

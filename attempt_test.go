package berth_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/berth-hpc/berth"
)

func TestAttemptNamesItsJob(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		number := rapid.Int64Min(1).Draw(t, "number")
		id := berth.NewAttempt(number, rapid.StringMatching(`[a-z0-9]{1,12}`).Draw(t, "random"))
		if got, ok := berth.AttemptJob(id); got != number || !ok {
			t.Fatalf("AttemptJob(%q) = %d, %v; want %d, true", id, got, ok, number)
		}
	})
}

func TestAttemptJobRefusesForeignIDs(t *testing.T) {
	t.Parallel()
	for _, id := range []string{
		"", "berth", "berth-", "berth-1", "berth-1-", "berth--1-a", "berth-0-a", "berth-x-a", "other-1-a", "1-a",
		"berth-99999999999999999999-a",
	} {
		if number, ok := berth.AttemptJob(id); ok {
			t.Errorf("AttemptJob(%q) = %d, true; want false", id, number)
		}
	}
}

package control

import (
	"testing"
	"time"
)

// TestAnAnswerFromBeforeAChangeIsNotKept: who was asking while something changed may have got what was before it.
func TestAnAnswerFromBeforeAChangeIsNotKept(t *testing.T) {
	var c cache[string, int]
	now := time.Unix(1, 0)
	answer := func(n int, meanwhile func()) int {
		got, err := c.get("question", now, func() (int, error) {
			meanwhile()
			return n, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	nothing := func() {}
	answer(1, c.forget)
	if got := answer(2, nothing); got != 2 {
		t.Errorf("the answer is %d, from before the change", got)
	}
	if got := answer(3, nothing); got != 2 {
		t.Errorf("the answer is %d; it was not kept", got)
	}
	now = now.Add(cacheFor)
	if got := answer(4, nothing); got != 4 {
		t.Errorf("the answer is %d, which is too old", got)
	}
}

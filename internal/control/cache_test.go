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

// TestLargeAnswersAreBounded: by what they take together.
func TestLargeAnswersAreBounded(t *testing.T) {
	c := cache[int, int]{weigh: func(bytes int) int { return bytes }}
	const each = maxCachedBytes / 4
	for i := range 11 {
		if _, err := c.get(i%5, time.Unix(int64(i), 0), func() (int, error) { return each, nil }); err != nil {
			t.Fatal(err)
		}
		if held := len(c.entries) * each; held != c.held || held > maxCachedBytes {
			t.Fatalf("%d bytes in %d answers, counted %d", held, len(c.entries), c.held)
		}
	}
	if c.forget(); c.held != 0 {
		t.Errorf("%d bytes are held of nothing", c.held)
	}
}

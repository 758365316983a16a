package reconcile

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestAWishEndsAPause, whether it comes before the pause or during it.
func TestAWishEndsAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := New(Config{}), &worker{}
		r.workers[1] = w
		rest := func(pause time.Duration) (next, took time.Duration) {
			began := time.Now()
			next = r.rest(t.Context(), 1, pause)
			return next, time.Since(began)
		}
		if next, took := rest(time.Second); next != 2*time.Second || took != time.Second {
			t.Errorf("no wish: took %s, then %s", took, next)
		}
		time.AfterFunc(time.Second, func() { r.interrupt(1) })
		if next, took := rest(lastPause); next != firstPause || took != time.Second {
			t.Errorf("a wish during the pause: took %s, then %s", took, next)
		}
		if next, took := rest(lastPause); next != firstPause || took != 0 {
			t.Errorf("a wish before the pause: took %s, then %s", took, next)
		}
		r.begin(w)
		if next, _ := rest(lastPause); next != lastPause {
			t.Errorf("a wish that the last step has seen: then %s", next)
		}
	})
}

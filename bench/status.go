package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"

	"github.com/berth-hpc/berth/internal/berthdtest"
)

// status measures how long a status takes with a short and with a long history.
func (b *bench) status(ctx context.Context) (err error) {
	s := b.server("status", "--cores", "1", "--network", "none")
	defer func() { err = errors.Join(err, s.Down(ctx)) }()
	if err := b.startBlocked(ctx, s); err != nil {
		return err
	}
	b.printf("| ended jobs in the store | status latency, 1 connection | p99 against the short history |\n|---|---|---|\n")
	var short latencies
	have := 0
	for _, history := range []int{1_000, b.pick(1_000_000, 10_000)} {
		if err := b.fill(ctx, s, history-have, "completed"); err != nil {
			return err
		}
		have = history
		took, err := b.askStatus(ctx, s, history)
		if err != nil {
			return err
		}
		if short == nil {
			short = took
		}
		b.printf("| %d | %v | %.2f |\n", history, took, float64(took.percentile(99))/float64(short.percentile(99)))
	}
	return nil
}

// askStatus asks for random jobs of the history.
func (b *bench) askStatus(ctx context.Context, s *berthdtest.Server, history int) (latencies, error) {
	c := newCaller(1)
	credentials := url.Values{"username": {s.Vars["BERTH_USER"]}, "apikey": {s.Vars["BERTH_APIKEY"]}}.Encode()
	took, _, err := load(ctx, 1, b.pick(20_000, 500), func(ctx context.Context, _ int) error {
		number := 2 + rand.IntN(history-1) //nolint:gosec // no secret
		_, err := c.post(ctx, fmt.Sprintf("%s/jarvice/status?%s&number=%d", s.URL, credentials, number), nil)
		return err
	})
	return took, err
}

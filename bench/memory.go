package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/berth-hpc/berth/internal/berthdtest"
)

// memory measures the server's resident memory idle and with long queues, and how long it takes to start with them.
func (b *bench) memory(ctx context.Context) (err error) {
	s := b.server("memory", "--cores", "1", "--network", "none")
	defer func() { err = errors.Join(err, s.Down(ctx)) }()
	if err := s.Start(ctx); err != nil {
		return err
	}
	b.printf("| queued jobs | start to ready | resident memory |\n|---|---|---|\n")
	if err := b.reportMemory(ctx, s, 0); err != nil {
		return err
	}
	if err := errors.Join(s.Stop(), b.startBlocked(ctx, s)); err != nil {
		return err
	}
	have := 1
	for _, queued := range []int{b.pick(10_000, 1_000), b.pick(100_000, 2_000)} {
		if err := b.fill(ctx, s, queued-have, "queued"); err != nil {
			return err
		}
		have = queued
		if err := b.reportMemory(ctx, s, queued); err != nil {
			return err
		}
	}
	return nil
}

// reportMemory starts the server anew, asks it a little, and reports what it takes after some rest.
func (b *bench) reportMemory(ctx context.Context, s *berthdtest.Server, queued int) error {
	if err := s.Stop(); err != nil {
		return err
	}
	began := time.Now()
	if err := s.Start(ctx); err != nil {
		return err
	}
	ready := time.Since(began)
	c, err := clientOf(s)
	if err != nil {
		return err
	}
	if _, err := c.Machines(ctx, ""); err != nil {
		return err
	}
	time.Sleep(3 * time.Second)
	resident, err := residentMB(s.Pid())
	if err != nil {
		return err
	}
	b.printf("| %d | %v | %.0f MB |\n", queued, ready.Round(time.Millisecond), resident)
	return nil
}

func residentMB(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseFloat(strings.Fields(kb)[0], 64)
			return n / 1000, err
		}
	}
	return 0, errors.New("no VmRSS in the status of the process")
}

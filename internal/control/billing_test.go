package control

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

// TestBilling: administrators read everybody's jobs, however many there are, those of the filter only.
func TestBilling(t *testing.T) {
	b := newBench(t)
	adas := b.submitBy(t, b.ada)
	bobs := b.submitBy(t, b.bob)
	from := adas.Submitted
	tests := map[string]struct {
		filter BillingFilter
		want   []int64
	}{
		"all":            {BillingFilter{}, []int64{bobs.Number, adas.Number}},
		"a user":         {BillingFilter{Users: []string{"bob"}}, []int64{bobs.Number}},
		"a payer":        {BillingFilter{Users: []string{adas.Payer}}, []int64{adas.Number}},
		"a machine type": {BillingFilter{Machines: []string{"n0"}, Applications: []string{berth.BatchApplication}}, []int64{bobs.Number, adas.Number}},
		"another":        {BillingFilter{Machines: []string{"n9"}}, nil},
		"an application": {BillingFilter{Applications: []string{"other"}}, nil},
		"until then":     {BillingFilter{Until: from}, nil},
		"from then":      {BillingFilter{From: from, Until: from.Add(time.Hour)}, []int64{bobs.Number, adas.Number}},
		"later":          {BillingFilter{From: from.Add(2 * time.Hour)}, nil},
	}
	for name, tt := range tests {
		var got []int64
		err := b.Billing(t.Context(), b.admin, tt.filter, func(job berth.Job) error {
			got = append(got, job.Number)
			return nil
		})
		if diff := cmp.Diff(tt.want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	enough := errors.New("enough")
	if err := b.Billing(t.Context(), b.admin, BillingFilter{}, func(berth.Job) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("error %v", err)
	}
	wantError(t, b.Billing(t.Context(), b.tess, BillingFilter{}, nil), berth.Forbidden, "Only an administrator may do this")
	token := b.admin
	token.Job = 1
	wantError(t, b.Billing(t.Context(), token, BillingFilter{}, nil), berth.Forbidden, "A job's token may not do this")
}

// TestReportsTakeTurns: one reads all jobs at a time, and those who look through the log do not wait for it.
func TestReportsTakeTurns(t *testing.T) {
	b := newBench(t)
	b.submitBy(t, b.ada)
	err := b.Billing(t.Context(), b.admin, BillingFilter{}, func(berth.Job) error {
		end, err := b.walk(t.Context())
		if err != nil {
			return err
		}
		end()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := b.Projects(ctx, b.admin); !errors.Is(err, context.Canceled) {
			t.Errorf("another report: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestBillingReadsOn: more jobs than are read at a time.
func TestBillingReadsOn(t *testing.T) {
	b := newBench(t)
	for range billingPage + 1 {
		b.submitBy(t, b.ada)
	}
	n := 0
	err := b.Billing(t.Context(), b.admin, BillingFilter{}, func(berth.Job) error {
		n++
		return nil
	})
	if err != nil || n != billingPage+1 {
		t.Errorf("read %d jobs: %v", n, err)
	}
}

// TestPriceIsOfTheSubmission: what a machine type costs later is of later jobs.
func TestPriceIsOfTheSubmission(t *testing.T) {
	b := newBench(t)
	machine := machineType("n7")
	req := request()
	req.Submission.Machine.Type = machine.Name
	var prices []float64
	for _, machine.Price = range []float64{0.5, 2} {
		if err := b.SetMachine(t.Context(), b.admin, machine); err != nil {
			t.Fatal(err)
		}
		if _, err := b.Batch(t.Context(), b.ada, req); err != nil {
			t.Fatal(err)
		}
	}
	err := b.Billing(t.Context(), b.admin, BillingFilter{}, func(job berth.Job) error {
		prices = append(prices, job.Price)
		return nil
	})
	if diff := cmp.Diff([]float64{2, 0.5}, prices); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestProjects(t *testing.T) {
	b := newBench(t)
	var payer string
	for i, caller := range []berth.Caller{b.ada, b.bob, b.ada} {
		req := request()
		req.Submission.Project = fmt.Sprintf("wing%d", i%2)
		job, err := b.Batch(t.Context(), caller, req)
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			payer = job.Payer
		}
	}
	b.submitBy(t, b.ada)
	got, err := b.Projects(t.Context(), b.admin)
	want := map[string][]string{payer + "-wing0": {"ada"}, "bob-wing1": {"bob"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	_, err = b.Projects(t.Context(), b.ada)
	wantError(t, err, berth.Forbidden, "Only an administrator may do this")
	_, err = b.Licence(t.Context(), b.ada)
	wantError(t, err, berth.Forbidden, "Only an administrator may do this")
}

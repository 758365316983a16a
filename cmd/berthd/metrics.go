package main

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/berth-hpc/berth"
)

// stateCounter counts jobs by state.
type stateCounter interface {
	CountByState(ctx context.Context) (map[berth.State]int, error)
}

// jobsCollector counts jobs when somebody asks, so that the numbers are the store's.
type jobsCollector struct {
	store stateCounter
	desc  *prometheus.Desc
}

func registerMetrics(registry *prometheus.Registry, store stateCounter) error {
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		jobsCollector{store: store, desc: prometheus.NewDesc("berth_jobs", "Jobs that have not ended, by state.", []string{"state"}, nil)},
	} {
		if err := registry.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// Describe implements prometheus.Collector.
func (c jobsCollector) Describe(ch chan<- *prometheus.Desc) { ch <- c.desc }

// Collect implements prometheus.Collector.
func (c jobsCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	counts, err := c.store.CountByState(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(c.desc, err)
		return
	}
	for _, state := range berth.States() {
		if !state.Final() {
			ch <- prometheus.MustNewConstMetric(c.desc, prometheus.GaugeValue, float64(counts[state]), string(state))
		}
	}
}

package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics counts requests by route. A route is a pattern of the table, so that clients cannot make new series.
type metrics struct {
	requests *prometheus.CounterVec
	// seconds holds an observer for each pattern; looking one up for each request would cost more than the observation.
	seconds map[string]prometheus.Observer
	handler http.Handler
}

func newMetrics(registry *prometheus.Registry, table []route, gates ...*gate) (*metrics, error) {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "berth_http_requests_total", Help: "Requests that were answered, by route, method and status.",
	}, []string{"route", "method", "code"})
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "berth_http_request_seconds", Help: "Time from the header of a request to the end of its answer, by route.",
		Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5, 30},
	}, []string{"route"})
	collectors := []prometheus.Collector{requests, seconds}
	for _, g := range gates {
		collectors = append(collectors, g.refused, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "berth_http_in_flight", Help: "Requests that are there now: ordinary ones, and those that take as long as they like.",
			ConstLabels: prometheus.Labels{"kind": g.kind},
		}, g.taken))
	}
	for _, c := range collectors {
		if err := registry.Register(c); err != nil {
			return nil, err
		}
	}
	m := &metrics{
		requests: requests,
		seconds:  map[string]prometheus.Observer{noRoute.pattern: seconds.WithLabelValues(noRoute.pattern)},
		handler:  promhttp.HandlerFor(registry, promhttp.HandlerOpts{}),
	}
	for _, r := range table {
		m.seconds[r.pattern] = seconds.WithLabelValues(r.pattern)
	}
	return m, nil
}

func (m *metrics) observe(c *call, took time.Duration) {
	method := c.r.Method
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodHead:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(c.route.pattern, method, strconv.Itoa(c.w.status)).Inc()
	m.seconds[c.route.pattern].Observe(took.Seconds())
}

func (s *server) showMetrics(c *call) error {
	s.metrics.handler.ServeHTTP(c.w, c.r)
	return nil
}

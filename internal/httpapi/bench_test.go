package httpapi

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// BenchmarkBatch is what a submission costs without the network and without control.
func BenchmarkBatch(b *testing.B) {
	handler, err := New(Config{Control: newScripted(), Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/jarvice/batch", strings.NewReader(validBatch)))
		if w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}

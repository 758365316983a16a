package enginetest

import (
	"testing"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/engine"
)

func testHost(t *testing.T, e engine.Engine) {
	hosts, err := e.Hosts(t.Context())
	if err != nil || len(hosts) == 0 {
		t.Fatalf("Hosts: %+v, %v", hosts, err)
	}
	for _, host := range hosts {
		if one := (berth.Capacity{Cores: 1, RAM: 1, Slots: 1}); host.Name == "" || !host.Capacity.Fits(one) {
			t.Errorf("host is %+v: something is missing", host)
		}
	}
}

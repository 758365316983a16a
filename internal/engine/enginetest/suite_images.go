package enginetest

import (
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/engine"
)

// testReadFile reads what the image of the suite holds, some at a time.
func testReadFile(t *testing.T, e Engine) {
	want, err := json.Marshal(Actions)
	if err != nil {
		t.Fatal(err)
	}
	size := int64(len(want))
	for name, test := range map[string]struct {
		ref, path string
		limit     int64
		want      error
	}{
		"a file":         {Image, agentapi.ActionsFile, size, nil},
		"too long":       {Image, agentapi.ActionsFile, size - 1, engine.ErrRefused},
		"no such file":   {Image, "/etc/NAE/AppDef.json", size, engine.ErrNotFound},
		"no such folder": {Image, "/nowhere/AppDef.json", size, engine.ErrNotFound},
		"no such image":  {"local/missing:latest", agentapi.ActionsFile, size, engine.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			var readers sync.WaitGroup
			for range 3 {
				readers.Go(func() {
					got, err := e.ReadFile(t.Context(), test.ref, test.path, test.limit)
					if !errors.Is(err, test.want) {
						t.Errorf("ReadFile: %v; want %v", err, test.want)
					}
					if diff := cmp.Diff(string(want), string(got)); test.want == nil && diff != "" {
						t.Errorf("content (-want +got):\n%s", diff)
					}
				})
			}
			readers.Wait()
		})
	}
}

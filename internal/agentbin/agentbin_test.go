package agentbin

import (
	"bytes"
	"errors"
	"testing"
	"testing/fstest"
)

func TestRead(t *testing.T) {
	t.Parallel()
	want := []byte("\x7fELF")
	got, err := read(fstest.MapFS{"bin/berth-init": {Data: want}})
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("read = %q, %v; want %q", got, err, want)
	}
	if _, err := read(fstest.MapFS{"bin/README": {}}); !errors.Is(err, ErrMissing) {
		t.Errorf("read without the agent = %v; want ErrMissing", err)
	}
}

// maxSize keeps the agent cheap to unpack and to map into every container.
const maxSize = 8 << 20

// TestBytes holds in a fresh checkout, without the agent, and after make build, with it.
func TestBytes(t *testing.T) {
	t.Parallel()
	agent, err := Bytes()
	switch {
	case errors.Is(err, ErrMissing):
	case err != nil:
		t.Error(err)
	case !bytes.HasPrefix(agent, []byte("\x7fELF")):
		t.Errorf("the embedded agent starts with %q; want an ELF executable", agent[:min(8, len(agent))])
	case len(agent) > maxSize:
		t.Errorf("the agent has %d bytes; at most %d", len(agent), maxSize)
	}
}

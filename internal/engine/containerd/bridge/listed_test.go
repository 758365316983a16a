package bridge

import (
	"errors"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
)

// TestListed: interfaces that others make and remove meanwhile keep nobody from a list.
func TestListed(t *testing.T) {
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		// interrupted is how often the list changes while it is read.
		interrupted int
		then        error
		want        error
	}{
		"at rest":         {0, nil, nil},
		"it changes":      {2, nil, nil},
		"it never stops":  {1000, nil, nil},
		"broken":          {0, broken, broken},
		"broken later on": {2, broken, broken},
	} {
		asked := 0
		got, err := listed(func() ([]int, error) {
			asked++
			if asked <= test.interrupted {
				return []int{asked}, netlink.ErrDumpInterrupted
			}
			return []int{asked}, test.then
		})
		if !errors.Is(err, test.want) || asked > maxListings || !slices.Equal(got, []int{asked}) {
			t.Errorf("%s: %v, %v after %d times", name, got, err, asked)
		}
	}
}

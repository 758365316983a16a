package control

import (
	"testing"

	"github.com/berth-hpc/berth"
)

// TestAddressOfTheUser: whoever asks for an address must be allowed to have it.
func TestAddressOfTheUser(t *testing.T) {
	const prefix = "Missing or Malformed API Syntax: application.ipaddr: "
	pool := []berth.PublicAddress{{Address: "192.0.2.1"}, {Address: "192.0.2.2", Users: []string{"bob"}}, {Address: "192.0.2.3", Users: []string{"ada"}}}
	for name, test := range map[string]struct {
		pool    []berth.PublicAddress
		address string
		want    string
	}{
		"everybody's":  {pool, "192.0.2.1", ""},
		"one's own":    {pool, "192.0.2.3", ""},
		"another's":    {pool, "192.0.2.2", `"192.0.2.2" is not one of 192.0.2.1, 192.0.2.3`},
		"nobody's":     {pool, "192.0.2.9", `"192.0.2.9" is not one of 192.0.2.1, 192.0.2.3`},
		"there are no": {nil, "192.0.2.1", `"192.0.2.1" is not allowed: this server has no addresses for your jobs`},
		"any":          {nil, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(c *Config) { c.PublicAddresses = test.pool })
			req := request()
			req.Submission.PublicIP, req.Submission.IPAddr = true, test.address
			job, err := b.Batch(t.Context(), b.ada, req)
			if test.want != "" {
				wantError(t, err, berth.Invalid, prefix+test.want)
				return
			}
			if err != nil || job.Submission.IPAddr != test.address || !job.Submission.PublicIP {
				t.Errorf("job %+v, %v", job.Submission, err)
			}
		})
	}
}

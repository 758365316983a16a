package image

import (
	"slices"
	"strings"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Matcher says which platforms this machine runs, the best first.
func Matcher() platforms.MatchComparer { return platforms.Default() }

// Runs says whether this machine runs images of a platform. A platform that names no architecture is taken on trust.
func Runs(p ocispec.Platform) bool {
	if p.Architecture == "" {
		return true
	}
	return Matcher().Match(p)
}

// RefusePlatform refuses an image because of the platforms that it is for.
func RefusePlatform(ref string, theirs ...ocispec.Platform) error {
	names := make([]string, 0, len(theirs))
	for _, p := range theirs {
		// Attestations and signatures travel beside images as platform unknown/unknown.
		if name := platforms.Format(p); p.OS != "unknown" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	this := platforms.Format(platforms.DefaultSpec())
	if len(names) == 0 {
		return Refuse("%s holds no image for a platform, and this machine is %s", ref, this)
	}
	const most = 8
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return Refuse("%s is for %s, and this machine is %s", ref, strings.Join(names, ", "), this)
}

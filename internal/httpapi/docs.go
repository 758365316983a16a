package httpapi

import (
	"net/http"
	"slices"

	"github.com/swaggest/swgui/v5emb"

	"github.com/berth-hpc/berth"
)

// docsPolicy makes browsers load nothing from other hosts, whatever the page and its scripts say. Both hold scripts and styles of
// their own, and images as data.
const docsPolicy = "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; " +
	"img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

// newDocs returns the handler of the contract's rendering and of what the page loads.
func newDocs() http.Handler { return v5emb.New("berth", "/openapi.json", "/docs/") }

// docsAssets are what the page loads.
func docsAssets() []string {
	return []string{
		"swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js", "favicon-16x16.png", "favicon-32x32.png",
	}
}

func (s *server) showDocs(c *call) error {
	asset := c.r.PathValue("asset")
	if asset != "" && !slices.Contains(docsAssets(), asset) {
		return &berth.Error{Kind: berth.NotFound, Msg: msgNoRoute}
	}
	r := c.r.Clone(c.r.Context())
	r.URL.Path = "/docs/" + asset
	// Success is always a whole 200.
	r.Header.Del("If-None-Match")
	r.Header.Del("Range")
	header := c.w.Header()
	header.Set("Content-Security-Policy", docsPolicy)
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Referrer-Policy", "no-referrer") // the page's address may hold a key
	if asset != "" {
		header.Set("Cache-Control", "max-age=3600")
	}
	s.docs.ServeHTTP(c.w, r)
	return nil
}

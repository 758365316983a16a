package httpapi

import (
	"net/http"
	"net/url"
	"strings"
)

// session is the cookie that lets the visitor in again. It goes with links from other sites, as people expect, and with nothing else
// that these do; see foreign.
func (v *visit) session(c *call, value string) *http.Cookie {
	cookie := &http.Cookie{ //nolint:gosec // without TLS a browser would not send it back
		Name: sessionCookie, Value: value, Path: v.home + "/", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: strings.HasPrefix(v.origin, "https:"),
	}
	switch {
	case v.origin == "":
		cookie.Secure = c.r.TLS != nil || strings.EqualFold(c.r.Header.Get("X-Forwarded-Proto"), "https")
	case cookie.Secure:
		cookie.Name = hostSessionCookie
	}
	return cookie
}

func isSession(cookie string) bool { return cookie == sessionCookie || cookie == hostSessionCookie }

// maxSessions bounds how many cookies are looked at: a job can set some for all hosts of a domain.
const maxSessions = 16

// sessionsOf returns what a browser says that earlier visits were given.
func sessionsOf(r *http.Request) []string {
	var sessions []string
	for _, cookie := range r.Cookies() {
		if isSession(cookie.Name) && len(sessions) < maxSessions {
			sessions = append(sessions, cookie.Value)
		}
	}
	return sessions
}

// foreign says whether a page of another origin had the browser send a request, other than by a link that somebody followed. Hosts of one
// domain are one site for browsers: the cookie comes with such requests, and must not count.
func (v *visit) foreign(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		if v.origin != "" {
			return origin != v.origin
		}
		from, err := url.Parse(origin)
		return err != nil || from.Host != r.Host
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin": // browsers do not say over plain HTTP
		return false
	default:
		return !follows(r)
	}
}

// follows says whether a browser goes to a page, as a whole window.
func follows(r *http.Request) bool {
	return r.Method == http.MethodGet && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}

// enters says whether a browser comes with the token in its address bar. There it would stay: in the history, in bookmarks, in what the
// page tells others.
func (v *visit) enters(c *call) bool { return v.token != "" && v.page.Session != "" && follows(c.r) }

// redirectIn gives the browser the cookie and sends it to the same address without the token.
func (c *call) redirectIn(v *visit, session string) error {
	c.w.Header().Add("Set-Cookie", v.session(c, session).String())
	c.w.Header().Set("Location", v.origin+v.prefix+v.path+querySuffix(v.query))
	c.w.Header().Set("Referrer-Policy", "no-referrer")
	c.w.WriteHeader(http.StatusSeeOther)
	return nil
}

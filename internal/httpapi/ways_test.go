package httpapi

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// prefixes are how the paths of the JARVICE API arrive: real clients double slashes and put /api in front.
func prefixes() []string {
	return []string{"/jarvice/", "/api/jarvice/", "//jarvice/", "/api//jarvice/"}
}

// ways are the ways in which real clients send parameters.
func ways() map[string]func(a *testAPI, path string, p map[string]string) answer {
	query := func(p map[string]string) string {
		values := url.Values{}
		for name, value := range p {
			values.Set(name, value)
		}
		return values.Encode()
	}
	object := func(p map[string]string) string {
		text, err := json.Marshal(p)
		if err != nil {
			panic(err)
		}
		return string(text)
	}
	return map[string]func(a *testAPI, path string, p map[string]string) answer{
		"GET query": func(a *testAPI, path string, p map[string]string) answer {
			return a.get(path + "?" + query(p))
		},
		"POST query, empty body labelled JSON": func(a *testAPI, path string, p map[string]string) answer {
			return a.send(http.MethodPost, path+"?"+query(p), "application/json", "")
		},
		"POST form": func(a *testAPI, path string, p map[string]string) answer {
			return a.send(http.MethodPost, path, "application/x-www-form-urlencoded", query(p))
		},
		"POST form without label": func(a *testAPI, path string, p map[string]string) answer {
			return a.send(http.MethodPost, path, "", query(p))
		},
		"POST JSON": func(a *testAPI, path string, p map[string]string) answer {
			return a.send(http.MethodPost, path, "application/json", object(p))
		},
		"POST JSON labelled as a form": func(a *testAPI, path string, p map[string]string) answer {
			return a.send(http.MethodPost, path, "application/x-www-form-urlencoded", " \n"+object(p))
		},
		"GET JSON": func(a *testAPI, path string, p map[string]string) answer {
			return a.send(http.MethodGet, path, "application/json", object(p))
		},
	}
}

// with returns the credentials of the test user with further parameters, as name, value, name, value.
func with(pairs ...string) map[string]string {
	p := map[string]string{"username": testUser, "apikey": testKey}
	for i := 0; i < len(pairs); i += 2 {
		p[pairs[i]] = pairs[i+1]
	}
	return p
}

func number(n int) string { return strconv.Itoa(n) }

// matches says whether a text is the wanted one; a wanted one that ends in a blank is a beginning.
func matches(text, want string) bool {
	return text == want || strings.HasSuffix(want, " ") && strings.HasPrefix(text, want)
}

func merged[V any](a, b map[string]V) map[string]V {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

package image

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/distribution/reference"

	"github.com/berth-hpc/berth/internal/engine"
)

// maxSecret bounds a pull secret in bytes.
const maxSecret = 1 << 20

// dockerHub is the registry host of a reference to Docker Hub.
const dockerHub = "docker.io"

var errSecretForm = errors.New(`the pull secret is not base64 of a JSON object {"auths":{"registry":{"auth":"…"}}}`)

// auths is the part of a Docker config.json (and of a Kubernetes .dockerconfigjson) that matters here.
type auths struct {
	Auths map[string]authEntry `json:"auths"`
}

// authEntry is what a client keeps for one registry.
type authEntry struct {
	Auth          string `json:"auth"`
	Username      string `json:"username"`
	Password      string `json:"password"`
	IdentityToken string `json:"identitytoken"`
}

// Credentials returns what a pull secret holds for the registry of a reference, nothing (anonymous) for an empty secret and for
// one without an entry for that registry. The secret is the JSON of a Docker auths file or its base64, in any common form of it.
// An identity token comes as a password without a user name. The text of an error is public and holds nothing of the secret.
func Credentials(secret, ref string) (engine.Credentials, error) {
	if len(secret) > maxSecret {
		return engine.Credentials{}, fmt.Errorf("the pull secret has %d bytes: at most %d are allowed", len(secret), maxSecret)
	}
	named, err := parse(ref)
	if err != nil {
		return engine.Credentials{}, err
	}
	if strings.TrimSpace(secret) == "" {
		return engine.Credentials{}, nil
	}
	entries, err := decodeSecret(secret)
	if err != nil {
		return engine.Credentials{}, err
	}
	return pickEntry(entries, reference.Domain(named), reference.Path(named))
}

func decodeSecret(secret string) (map[string]authEntry, error) {
	text := bytes.TrimSpace([]byte(secret))
	if text[0] != '{' {
		decoded, ok := decodeBase64(string(text))
		if !ok {
			return nil, errSecretForm
		}
		text = decoded
	}
	var file auths
	// The decoder's own error may quote the secret, so it is not wrapped.
	if err := json.Unmarshal(text, &file); err != nil || file.Auths == nil {
		return nil, errSecretForm
	}
	return file.Auths, nil
}

// decodeBase64 reads the standard and the URL alphabet, padded or not, broken into lines or not.
func decodeBase64(s string) ([]byte, bool) {
	s = strings.Join(strings.Fields(s), "")
	s = strings.TrimRight(s, "=")
	encoding := base64.RawStdEncoding
	if strings.ContainsAny(s, "-_") {
		encoding = base64.RawURLEncoding
	}
	decoded, err := encoding.DecodeString(s)
	return decoded, err == nil
}

// candidate is an entry of a pull secret that may be meant.
type candidate struct {
	key, path string
	entry     authEntry
}

// pickEntry takes the entry whose key names the registry and the longest part of the repository's path.
func pickEntry(entries map[string]authEntry, registry, repository string) (engine.Credentials, error) {
	var found []candidate
	for key, entry := range entries {
		host, path := splitKey(key)
		if host == canonicalHost(registry) && covers(path, repository) {
			found = append(found, candidate{key: key, path: path, entry: entry})
		}
	}
	slices.SortFunc(found, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(len(b.path), len(a.path)), cmp.Compare(a.key, b.key))
	})
	for _, c := range found {
		credentials, err := c.entry.credentials()
		if err != nil {
			return engine.Credentials{}, fmt.Errorf("the pull secret's entry for registry %s: %w", quote(canonicalHost(registry)), err)
		}
		if credentials != (engine.Credentials{}) {
			return credentials, nil
		}
	}
	return engine.Credentials{}, nil
}

func (e authEntry) credentials() (engine.Credentials, error) {
	switch {
	case e.IdentityToken != "":
		return engine.Credentials{Password: e.IdentityToken}, nil
	case e.Username != "" || e.Password != "":
		return engine.Credentials{Username: e.Username, Password: e.Password}, nil
	case strings.TrimSpace(e.Auth) == "":
		return engine.Credentials{}, nil
	}
	decoded, ok := decodeBase64(e.Auth)
	user, password, colon := strings.Cut(string(decoded), ":")
	if !ok || !colon || user == "" {
		return engine.Credentials{}, errors.New("auth is not base64 of user:password")
	}
	return engine.Credentials{Username: user, Password: strings.Trim(password, "\x00")}, nil
}

// splitKey takes a key of an auths file apart: "https://index.docker.io/v1/", "registry.example.com:5000",
// "registry.example.com/team".
func splitKey(key string) (host, path string) {
	key = strings.TrimSpace(key)
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, path, _ = strings.Cut(key, "/")
	path = strings.Trim(path, "/")
	if path == "v1" || path == "v2" {
		path = ""
	}
	return canonicalHost(host), path
}

func covers(path, repository string) bool {
	return path == "" || path == repository || strings.HasPrefix(repository, path+"/")
}

// canonicalHost gives the names of one registry one form.
func canonicalHost(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ":443")
	switch host {
	case "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return dockerHub
	default:
		return host
	}
}

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// settings say where the server is and who asks.
type settings struct{ url, user, apikey string }

func (s settings) complete() bool { return s.url != "" && s.apikey != "" }

// settings collects what is set, from the most to the least particular place, and stops when it knows enough: a user's name in a
// file that is not needed may belong to another account. When only the key is missing, it returns the rest with the error.
func (a *app) settings() (settings, error) {
	sources := []func() (settings, error){
		a.flagSettings,
		a.credentialsSettings,
		a.envSettings("BERTH_URL", "BERTH_USER", "BERTH_APIKEY"),
		a.envSettings("JARVICE_API_URL", "JARVICE_USER", "JARVICE_API_KEY"),
		a.yamlSettings,
		a.jarviceSettings,
	}
	var found settings
	for _, source := range sources {
		s, err := source()
		if err != nil {
			return settings{}, err
		}
		found.url = cmp.Or(found.url, s.url)
		found.user = cmp.Or(found.user, s.user)
		found.apikey = cmp.Or(found.apikey, s.apikey)
		if found.complete() {
			return found, nil
		}
	}
	if found.url == "" {
		return settings{}, missing("server", "--url", "BERTH_URL", "url")
	}
	return found, missing("API key", "--apikey", "BERTH_APIKEY", "apikey")
}

// settingsError is one of errSettings with its own text.
type settingsError struct{ text string }

func (e *settingsError) Error() string        { return e.text }
func (e *settingsError) Is(target error) bool { return target == errSettings }

func missing(what, flag, env, key string) error {
	return hintf(&settingsError{"no " + what + " is set"},
		"give --credentials FILE, the file \"credentials\" in berthd's data directory, or %s, or set %s, or write %s: to ~/.config/berth/config.yaml",
		flag, env, key)
}

func (a *app) flagSettings() (settings, error) {
	return settings{a.flags.url, a.flags.user, a.flags.apikey}, nil
}

func (a *app) envSettings(url, user, apikey string) func() (settings, error) {
	return func() (settings, error) {
		return settings{a.getenv(url), a.getenv(user), a.getenv(apikey)}, nil
	}
}

// credentialsSettings reads the file that berthd writes for the shell.
func (a *app) credentialsSettings() (settings, error) {
	if a.flags.credentials == "" {
		return settings{}, nil
	}
	text, err := os.ReadFile(a.flags.credentials)
	if err != nil {
		return settings{}, &settingsError{err.Error()}
	}
	values := keyValues(string(text))[""]
	s := settings{values["BERTH_URL"], values["BERTH_USER"], values["BERTH_APIKEY"]}
	if s == (settings{}) {
		return settings{}, &settingsError{a.flags.credentials + ": has none of BERTH_URL=, BERTH_USER= and BERTH_APIKEY="}
	}
	return s, nil
}

// yamlSettings reads our own configuration file, if it is there.
func (a *app) yamlSettings() (settings, error) {
	dir := a.getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) { // the specification says to ignore a relative one
		home := a.getenv("HOME")
		if home == "" {
			return settings{}, nil
		}
		dir = filepath.Join(home, ".config")
	}
	path := filepath.Join(dir, "berth", "config.yaml")
	text, err := readOptional(path)
	if err != nil {
		return settings{}, err
	}
	var file map[string]string
	if err := yaml.Unmarshal(text, &file); err != nil {
		return settings{}, &settingsError{fmt.Sprintf("%s: %v", path, err)}
	}
	for key := range file {
		if !slices.Contains([]string{"url", "user", "apikey"}, key) {
			return settings{}, &settingsError{fmt.Sprintf("%s: %q is none of url, user and apikey", path, key)}
		}
	}
	return settings{file["url"], file["user"], file["apikey"]}, nil
}

// jarviceSettings reads the configuration file of other JARVICE clients, if it is there.
func (a *app) jarviceSettings() (settings, error) {
	home := a.getenv("HOME")
	if home == "" {
		return settings{}, nil
	}
	text, err := readOptional(filepath.Join(home, ".jarvice.cfg"))
	auth := keyValues(string(text))["auth"]
	return settings{auth["url"], auth["username"], auth["apikey"]}, err
}

// readOptional returns nothing for a file that is not there.
func readOptional(path string) ([]byte, error) {
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, &settingsError{err.Error()}
	}
	return text, nil
}

// keyValues reads lines KEY=VALUE or KEY: VALUE below [section] lines, as INI files and simple shell files have them; before the
// first section it is "". A value may be quoted; lines that say something else are left out.
func keyValues(text string) map[string]map[string]string {
	section, values := "", map[string]map[string]string{"": {}}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
			continue
		case line[0] == '[' && line[len(line)-1] == ']':
			section = strings.TrimSpace(line[1 : len(line)-1])
			if values[section] == nil {
				values[section] = map[string]string{}
			}
			continue
		}
		at := strings.IndexAny(line, "=:")
		if at < 0 {
			continue
		}
		key := strings.TrimSpace(strings.TrimPrefix(line[:at], "export "))
		values[section][key] = unquote(strings.TrimSpace(line[at+1:]))
	}
	return values
}

func unquote(value string) string {
	if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		return value[1 : n-1]
	}
	return value
}

package main

import (
	"maps"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// places are all the places where settings can be, each with values that name it.
type places struct {
	flags, credentials, berth, jarvice, yaml, cfg bool
}

func (p places) command(t *testing.T) command {
	t.Helper()
	c := command{args: []string{"machines"}, env: map[string]string{"HOME": t.TempDir()}}
	if p.flags {
		c.args = append(c.args, "--url", "http://flags", "--user", "flags", "--apikey", "flags")
	}
	if p.credentials {
		file := write(t, "credentials", "# made by berthd\nexport BERTH_URL='http://credentials'\nBERTH_USER=credentials\nBERTH_APIKEY=\"credentials\"\n")
		c.args = append(c.args, "--credentials", file)
	}
	if p.berth {
		maps.Copy(c.env, map[string]string{"BERTH_URL": "http://berth", "BERTH_USER": "berth", "BERTH_APIKEY": "berth"})
	}
	if p.jarvice {
		maps.Copy(c.env, map[string]string{"JARVICE_API_URL": "http://jarvice/api/", "JARVICE_USER": "jarvice", "JARVICE_API_KEY": "jarvice"})
	}
	if p.yaml {
		file := write(t, "berth/config.yaml", "url: http://yaml\nuser: yaml\napikey: yaml\n")
		c.env["XDG_CONFIG_HOME"] = filepath.Dir(filepath.Dir(file))
	}
	if p.cfg {
		file := write(t, ".jarvice.cfg", "[other]\nurl = x\n[auth]\nusername = cfg\napikey: cfg\nurl = http://cfg:1/\n")
		c.env["HOME"] = filepath.Dir(file)
	}
	return c
}

// found returns what a run would use.
func found(t *testing.T, c command) (settings, error) {
	t.Helper()
	a := &app{getenv: func(name string) string { return c.env[name] }}
	root := a.rootCommand()
	if err := root.ParseFlags(c.args[1:]); err != nil {
		t.Fatal(err)
	}
	return a.settings()
}

func TestSettingsPrecedence(t *testing.T) {
	t.Parallel()
	p := places{true, true, true, true, true, true}
	for _, step := range []struct {
		want settings
		drop *bool
	}{
		{settings{"http://flags", "flags", "flags"}, &p.flags},
		{settings{"http://credentials", "credentials", "credentials"}, &p.credentials},
		{settings{"http://berth", "berth", "berth"}, &p.berth},
		{settings{"http://jarvice/api/", "jarvice", "jarvice"}, &p.jarvice},
		{settings{"http://yaml", "yaml", "yaml"}, &p.yaml},
		{settings{"http://cfg:1/", "cfg", "cfg"}, &p.cfg},
	} {
		got, err := found(t, p.command(t))
		if err != nil {
			t.Fatal(err)
		}
		if got != step.want {
			t.Errorf("settings are %+v, want %+v", got, step.want)
		}
		*step.drop = false
	}
}

func TestSettingsAreFilledUp(t *testing.T) {
	t.Parallel()
	home := filepath.Dir(filepath.Dir(filepath.Dir(write(t, ".config/berth/config.yaml", "apikey: yaml\nuser: yaml\n"))))
	got, err := found(t, command{
		args: []string{"machines", "--url", "http://flags"},
		env:  map[string]string{"HOME": home, "BERTH_USER": "berth", "XDG_CONFIG_HOME": "relative/is/ignored"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := (settings{"http://flags", "berth", "yaml"}); got != want {
		t.Errorf("settings are %+v, want %+v", got, want)
	}
}

// TestSettingsStopWhenComplete wants no user out of a file that is not needed: it may belong to another account.
func TestSettingsStopWhenComplete(t *testing.T) {
	t.Parallel()
	home := filepath.Dir(write(t, ".jarvice.cfg", "[auth]\nusername = other\n"))
	got, err := found(t, command{
		args: []string{"machines"}, env: map[string]string{"HOME": home, "BERTH_URL": "http://h", "BERTH_APIKEY": "k"},
	})
	if want := (settings{"http://h", "", "k"}); err != nil || got != want {
		t.Errorf("settings are %+v, error %v; want %+v", got, err, want)
	}
}

func TestSettingsMissingOrWrong(t *testing.T) {
	t.Parallel()
	yaml := write(t, "berth/config.yaml", "url: http://h\nkey: typo\n")
	for name, tc := range map[string]struct {
		c    command
		want string
	}{
		"nothing": {
			command{args: []string{"jobs"}},
			"berth: no server is set (give --credentials FILE, the file \"credentials\" in berthd's data directory, or --url, " +
				"or set BERTH_URL, or write url: to ~/.config/berth/config.yaml)\n",
		},
		"no key": {
			command{args: []string{"jobs", "--url", "http://h"}},
			"berth: no API key is set (give --credentials FILE, the file \"credentials\" in berthd's data directory, or --apikey, " +
				"or set BERTH_APIKEY, or write apikey: to ~/.config/berth/config.yaml)\n",
		},
		"no credentials file": {
			command{args: []string{"jobs", "--credentials", "/none"}}, "berth: open /none: no such file or directory\n",
		},
		"unknown key in the file": {
			command{args: []string{"jobs"}, env: map[string]string{"XDG_CONFIG_HOME": filepath.Dir(filepath.Dir(yaml))}},
			"berth: " + yaml + ": \"key\" is none of url, user and apikey\n",
		},
		"URL that is none": {
			command{args: []string{"jobs", "--url", "localhost:1", "--apikey", "k"}},
			"berth: server URL \"localhost:1\" is not of the form http://HOST:PORT\n",
		},
		"URL without http://": {
			command{args: []string{"jobs", "--url", "127.0.0.1:1", "--apikey", "k"}},
			"berth: server URL \"127.0.0.1:1\" is not of the form http://HOST:PORT\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, result{Code: 2, Stderr: tc.want}, tc.c.run(t.Context(), t))
		})
	}
}

func TestCredentialsFileWithoutCredentials(t *testing.T) {
	t.Parallel()
	got := command{args: []string{"jobs", "--credentials", write(t, "c", "hello\n")}}.run(t.Context(), t)
	if got.Code != 2 || !strings.Contains(got.Stderr, "has none of BERTH_URL=") {
		t.Errorf("%+v", got)
	}
}

// TestCompletionWithoutServer wants silence: a person pressed the tab key.
func TestCompletionWithoutServer(t *testing.T) {
	t.Parallel()
	check(t, result{Stdout: ":4\n", Stderr: "Completion ended with directive: ShellCompDirectiveNoFileComp\n"},
		command{args: []string{"__complete", "wait", ""}}.run(t.Context(), t))
	f := newFake(t, map[string]http.HandlerFunc{"GET /jarvice/jobs": text(500, ``)})
	check(t, result{Stdout: ":4\n", Stderr: "Completion ended with directive: ShellCompDirectiveNoFileComp\n"},
		f.berth(t, "__complete", "wait", ""))
}

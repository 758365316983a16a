package conventions

import (
	"slices"
	"strings"
	"testing"
)

// parts gives the import paths of parts of the server.
func parts(names ...string) []string {
	paths := make([]string, 0, len(names))
	for _, name := range names {
		paths = append(paths, module+"/internal/"+name)
	}
	return paths
}

// databases and runtimes are what only the server links.
var (
	databases = []string{"modernc.org/sqlite", "github.com/jackc/pgx/v5", "github.com/pressly/goose/v3"}
	runtimes  = []string{"github.com/containerd", "k8s.io", "google.golang.org/grpc"}
	engines   = append(parts("engine/containerd", "engine/fake"), "github.com/containerd/containerd")
	server    = parts("control", "engine", "httpapi", "reconcile", "scheduler", "store")
)

// directions are the rules of docs/architecture.md, looked at through all imports and not only the direct ones.
var directions = map[string]struct {
	packages []string
	forbid   func(pkg) bool
}{
	"the domain needs the standard library only": {
		packages: []string{module},
		forbid:   func(p pkg) bool { return !p.Standard },
	},
	"the domain knows no network and no database": {
		packages: []string{module},
		forbid:   below("net", "database/sql"),
	},
	"AppDefs and job scripts need the standard library only": {
		packages: parts("appdef", "jobscript"),
		forbid:   func(p pkg) bool { return !p.Standard && !below(parts("appdef", "jobscript")...)(p) },
	},
	"AppDefs and job scripts know no network and no database": {
		packages: parts("appdef", "jobscript"),
		forbid:   below("net", "database/sql"),
	},
	"the client needs the standard library only": {
		packages: []string{module + "/client"},
		forbid:   func(p pkg) bool { return !p.Standard },
	},
	"the command line is a client": {
		packages: []string{module + "/cmd/berth"},
		forbid:   below(slices.Concat(databases, runtimes, server)...),
	},
	"the agent is small": {
		packages: []string{module + "/cmd/berth-init", module + "/internal/agent", module + "/internal/agentapi"},
		forbid: below(slices.Concat(databases, runtimes, server,
			[]string{"net/http", "github.com/spf13/cobra", "google.golang.org/protobuf"})...),
	},
	"use cases know no transport and no engine": {
		packages: parts("control"),
		forbid:   below(slices.Concat(engines, parts("httpapi"))...),
	},
	"HTTP reaches the server by its use cases": {
		packages: parts("httpapi"),
		forbid:   below(slices.Concat(engines, parts("reconcile", "scheduler"))...),
	},
	"the loops know no transport and no engine": {
		packages: parts("scheduler", "reconcile", "usage", "retention"),
		forbid:   below(slices.Concat(engines, parts("control", "httpapi"))...),
	},
	"SFTP knows the use cases by an interface of its own": {
		packages: parts("sftpd"),
		forbid:   below(slices.Concat(databases, runtimes, server)...),
	},
	"files know neither the database nor who asks": {
		packages: parts("backup", "blockfiles", "output", "seal", "vault", "volume"),
		forbid:   below(slices.Concat(databases, runtimes, server)...),
	},
	"the store knows the domain": {
		packages: parts("store"),
		forbid:   below(slices.Concat(runtimes, parts("agentapi", "control", "engine", "httpapi", "reconcile", "scheduler"))...),
	},
	"engines are told what to do": {
		packages: parts("engine", "engine/containerd", "engine/fake"),
		forbid:   below(slices.Concat(databases, parts("control", "httpapi", "reconcile", "scheduler", "store"))...),
	},
}

func TestPackages(t *testing.T) {
	t.Parallel()
	packages := load(t)
	t.Run("directions", func(t *testing.T) { testDirections(t, packages) })
	t.Run("one wiring", func(t *testing.T) { testOneWiring(t, packages) })
	t.Run("comments", func(t *testing.T) { testComments(t, packages) })
}

func testDirections(t *testing.T, packages graph) {
	for rule, direction := range directions {
		for _, path := range direction.packages {
			if _, ok := packages[path]; !ok {
				t.Errorf("%s: no package %s; the rule guards nothing", rule, path)
				continue
			}
			if way := packages.chain(path, direction.forbid); way != nil {
				t.Errorf("%s, but:\n\t%s", rule, strings.Join(way, "\n\timports "))
			}
		}
	}
}

// testOneWiring: only what puts the server together, or measures it, knows both the store and an engine.
func testOneWiring(t *testing.T, packages graph) {
	wiring := below(module+"/cmd/berthd", module+"/e2e", module+"/bench")
	for _, path := range packages.own() {
		store := packages.chain(path, below(parts("store")...))
		runtime := packages.chain(path, below(parts("engine/containerd")...))
		if store != nil && runtime != nil && !wiring(packages[path]) {
			t.Errorf("%s links both:\n\t%s\nand\n\t%s", path, strings.Join(store, "\n\timports "), strings.Join(runtime, "\n\timports "))
		}
	}
}

func testComments(t *testing.T, packages graph) {
	for _, path := range packages.own() {
		if p := packages[path]; p.Doc == "" && len(p.GoFiles) > 0 { // go list reads no comments of test files
			t.Errorf("package %s has no package comment", path)
		}
	}
}

package conventions

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// module is the import path of the repository.
const module = "github.com/berth-hpc/berth"

// pkg is what go list says of a package.
type pkg struct {
	ImportPath string
	Doc        string
	Standard   bool
	GoFiles    []string
	Imports    []string
	// ImportMap gives the real paths of imports that the standard library vendors.
	ImportMap map[string]string
}

// graph holds every package that product code of the module links, by import path.
type graph map[string]pkg

// load asks the go command for the packages of the module and everything that they import, tests left out.
func load(t *testing.T) graph {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Doc,Standard,GoFiles,Imports,ImportMap", "./...")
	list.Dir = root
	var stderr strings.Builder
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	packages := graph{}
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages[p.ImportPath] = p
	}
}

// own returns the import paths of the module's packages, sorted.
func (g graph) own() []string {
	var paths []string
	for path := range g {
		if path == module || strings.HasPrefix(path, module+"/") {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// chain returns the shortest way of imports from a package to one that matches, both included; nil when there is none.
func (g graph) chain(from string, matches func(pkg) bool) []string {
	before := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		at := g[queue[0]]
		if at.ImportPath != from && matches(at) {
			return trace(before, at.ImportPath)
		}
		for _, next := range at.Imports {
			if real, ok := at.ImportMap[next]; ok {
				next = real
			}
			if _, seen := before[next]; !seen {
				before[next] = at.ImportPath
				queue = append(queue, next)
			}
		}
	}
	return nil
}

func trace(before map[string]string, to string) []string {
	var way []string
	for at := to; at != ""; at = before[at] {
		way = append(way, at)
	}
	slices.Reverse(way)
	return way
}

// below matches the packages with one of these import paths, and everything under them.
func below(paths ...string) func(pkg) bool {
	return func(p pkg) bool {
		return slices.ContainsFunc(paths, func(path string) bool {
			return p.ImportPath == path || strings.HasPrefix(p.ImportPath, path+"/")
		})
	}
}

package conventions

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDependenciesAreExplained: every direct dependency has its paragraph in the document of dependencies, and only they.
func TestDependenciesAreExplained(t *testing.T) {
	t.Parallel()
	edit := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json")
	edit.Dir = root
	out, err := edit.Output()
	if err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct {
			Path     string
			Indirect bool
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile(filepath.Join(root, "docs/decisions/dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	direct := map[string]bool{}
	for _, require := range mod.Require {
		direct[require.Path] = !require.Indirect
		if !require.Indirect && !bytes.Contains(document, []byte("\n**"+require.Path+"**")) {
			t.Errorf("docs/decisions/dependencies.md does not explain %s", require.Path)
		}
	}
	for line := range strings.Lines(string(document)) {
		rest, found := strings.CutPrefix(line, "**")
		if path, _, _ := strings.Cut(rest, "**"); found && !direct[path] {
			t.Errorf("docs/decisions/dependencies.md explains %s, which is no direct dependency", path)
		}
	}
}

package conventions

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// root is the top of the repository, seen from this package.
const root = "../.."

// maxLines keeps files short enough to be read in one go.
const maxLines = 400

// foreign matches what means something on the author's machine or in a tracker only. A reader has neither: the reason belongs
// into the text itself.
var foreign = regexp.MustCompile(`(?i)(?-i:/work/[a-z]|/Users/[a-z])|\bissue #?[0-9]+|/tmp/[a-z]+/[A-Z]+\.md`)

// texts calls visit for every text file of the repository.
func texts(t *testing.T, visit func(path string, content []byte)) {
	t.Helper()
	made := []string{".git", "bin", "dist"}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains(made, entry.Name()):
			return filepath.SkipDir
		case !entry.Type().IsRegular() || entry.Name() == ".git": // a file, in a second worktree
			return nil
		}
		content, err := os.ReadFile(path)
		if err == nil && utf8.Valid(content) && !bytes.ContainsRune(content, 0) {
			visit(path, content)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFilesAreShort(t *testing.T) {
	t.Parallel()
	texts(t, func(path string, content []byte) {
		if n := bytes.Count(content, []byte("\n")); filepath.Ext(path) == ".go" && n > maxLines {
			t.Errorf("%s has %d lines; at most %d", path, n, maxLines)
		}
	})
}

func TestFilesStandAlone(t *testing.T) {
	t.Parallel()
	texts(t, func(path string, content []byte) {
		if found := foreign.Find(content); found != nil {
			t.Errorf("%s refers to %q, which its readers do not have", path, found)
		}
	})
}

// link matches the target of a Markdown link, without its anchor.
var link = regexp.MustCompile(`\]\(([^)#\s]+)`)

func TestDocumentLinks(t *testing.T) {
	t.Parallel()
	texts(t, func(path string, content []byte) {
		if filepath.Ext(path) != ".md" {
			return
		}
		for _, match := range link.FindAllSubmatch(content, -1) {
			target := string(match[1])
			if strings.Contains(target, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(path), target)); err != nil {
				t.Errorf("%s: link to %s: %v", path, target, err)
			}
		}
	})
}

package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

// firstAppDef is an AppDef that says in its descriptions what is what.
//
//go:embed template/AppDef.json
var firstAppDef []byte

func (a *app) appInitCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write a small AppDef.json to start from, which says in its descriptions what is what",
		Example: `  berth app init
  berth app init numbers`,
		Args: atMostOne("DIR"),
		RunE: a.runE(func(_ context.Context, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			path := filepath.Join(dir, "AppDef.json")
			if err := create(path, firstAppDef); err != nil {
				return err
			}
			if err := a.done(map[string]string{"file": path, "status": "written"}, "%s written", path); err != nil {
				return err
			}
			a.note("change in it: name, description and author, which people see")
			a.note("change in it: commands, each with its path, a program in the image, and its parameters; their descriptions say what is what")
			a.note("then: berth app check %s", path)
			a.note("then: berth app add numbers --image library/debian:bookworm --appdef %s", path)
			a.note("then: berth app run numbers Run --set last=3 -f")
			return nil
		}),
	}
}

// create makes a file, with the directory that it is in, and never writes over one that is there.
func create(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // sources are for everybody to read, as umask permits
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // likewise
	switch {
	case errors.Is(err, fs.ErrExist):
		return hintf(fmt.Errorf("%s is there already", path), "give another DIR, or remove it first")
	case err != nil:
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Close())
}

func (a *app) appCheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "check FILE|-",
		Short: "Ask the server whether it takes an AppDef; needs no account",
		Long: `check sends an AppDef to the server and prints what is wrong with it, a line for each place. It exits with 1 when something is. It needs
the address of the server only.`,
		Example: `  berth app check AppDef.json
  berth --url http://127.0.0.1:8080 app check - < AppDef.json`,
		Args: words("the FILE of the AppDef, or - for stdin"),
		RunE: a.runE(func(ctx context.Context, args []string) error {
			text, err := a.readInput(args[0])
			if err != nil {
				return err
			}
			c, err := a.openClient()
			if err != nil {
				return err
			}
			err = c.Validate(ctx, text)
			if refused, ok := errors.AsType[*client.Error](err); ok && refused.StatusCode == http.StatusBadRequest {
				return a.printProblems(problems(refused.Message))
			}
			if err != nil {
				return about("check of", args[0], err)
			}
			return a.done(map[string]bool{"valid": true}, "%s is valid", args[0])
		}),
	}
}

// problems takes the server's sentence apart, which has a part "place: what is wrong" for each place behind a few words in front.
func problems(sentence string) []string {
	var list []string
	sentence = strings.TrimPrefix(sentence, "Invalid AppDef: ") // the person knows what is checked
	for part := range strings.SplitSeq(sentence, "; ") {
		if len(list) > 0 && !strings.Contains(part, ": ") { // more of the part before
			list[len(list)-1] += "; " + part
			continue
		}
		list = append(list, part)
	}
	return list
}

// printProblems prints what is wrong, and ends with the exit code of that.
func (a *app) printProblems(problems []string) error {
	if a.flags.json {
		document := struct {
			Valid    bool     `json:"valid"`
			Problems []string `json:"problems"`
		}{Problems: problems}
		if err := a.printJSON(document); err != nil {
			return err
		}
		return withCode(exitError)
	}
	for _, problem := range problems {
		a.say("%s", problem)
	}
	return withCode(exitError)
}

package sshclient

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/berth-hpc/berth/internal/agentapi"
)

// options are what a command line says.
type options struct {
	host, user, identity string
	port                 int
	// noInput is -n, terminals is how often -t was given, and -1 after -T.
	noInput   bool
	terminals int
	// recursive and keep are -r and -p of scp, and batch is the file of sftp's -b.
	recursive, keep bool
	batch           string
	// rest are the words behind the options.
	rest []string
}

// flags are the letters of options: those that stand alone, and those that a value follows. The ignored ones change nothing here.
// What is in none of them is refused.
type flags struct{ alone, valued, ignored, ignoredValued string }

var (
	sshFlags  = flags{alone: "nTt", valued: "plio", ignored: "1246AaCgKkqVvXxYy", ignoredValued: "BbcEeFImQS"}
	scpFlags  = flags{alone: "rp", valued: "Pio", ignored: "346ABCOqRTv", ignoredValued: "cFlSX"}
	sftpFlags = flags{valued: "Pbio", ignored: "46AaCfNpqrv", ignoredValued: "BcFlRSX"}
)

var errUsage = errors.New("usage")

// parse reads the options at the beginning of args into o, and leaves what follows in rest. It may be called again for those.
func (o *options) parse(args []string, known flags) error {
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' {
		letters := args[0][1:]
		args = args[1:]
		if letters == "-" {
			break
		}
		for letters != "" {
			letter := letters[:1]
			letters = letters[1:]
			switch {
			case strings.Contains(known.alone, letter):
				o.setAlone(letter)
			case strings.Contains(known.ignored, letter):
			case strings.Contains(known.valued+known.ignoredValued, letter):
				if letters == "" && len(args) > 0 {
					letters, args = args[0], args[1:]
				}
				if err := o.setValue(letter, letters); err != nil {
					return err
				}
				letters = ""
			default:
				return fmt.Errorf("%w: there is no option -%s here", errUsage, letter)
			}
		}
	}
	o.rest = args
	return nil
}

func (o *options) setAlone(letter string) {
	switch letter {
	case "n":
		o.noInput = true
	case "T":
		o.terminals = -1
	case "t":
		o.terminals++
	case "r":
		o.recursive = true
	case "p":
		o.keep = true
	}
}

// setValue sets an option with a value; those that are ignored have no case.
func (o *options) setValue(letter, value string) error {
	if value == "" {
		return fmt.Errorf("%w: option -%s needs a value", errUsage, letter)
	}
	switch letter {
	case "p", "P":
		port, err := strconv.ParseUint(value, 10, 16)
		if err != nil || port == 0 {
			return fmt.Errorf("%w: %q is no port", errUsage, value)
		}
		o.port = int(port)
	case "l":
		o.user = value
	case "i":
		o.identity = value
	case "b":
		o.batch = value
	case "o":
		return o.setNamed(value)
	}
	return nil
}

// setNamed sets an option as configuration files name it. Most mean nothing here.
func (o *options) setNamed(text string) error {
	name, value, found := strings.Cut(text, "=")
	if !found {
		name, value, _ = strings.Cut(text, " ")
	}
	value = strings.TrimSpace(value)
	switch strings.ToLower(strings.TrimSpace(name)) {
	case "port":
		return o.setValue("p", value)
	case "user":
		return o.setValue("l", value)
	case "identityfile":
		return o.setValue("i", value)
	default:
		return nil
	}
}

// setHost reads [user@]host.
func (o *options) setHost(word string) error {
	if i := strings.LastIndex(word, "@"); i >= 0 {
		o.user, word = word[:i], word[i+1:]
	}
	if word == "" {
		return fmt.Errorf("%w: which host?", errUsage)
	}
	o.host = word
	return nil
}

// newOptions returns what holds without any option: berth's own port, because this client is for the nodes of a job.
func newOptions() options { return options{port: agentapi.SSHPort} }

package control

import (
	"cmp"
	"context"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
	"github.com/berth-hpc/berth/internal/appdef"
)

// TokenParameter is the parameter of the address of a job's web page that holds the token of the job.
const TokenParameter = "berth_token"

// publicAddress is the address of a job in a template. The scheme and the port are those that the job serves, so they are part of it,
// as a path right behind it is that it may name once more.
var publicAddress = regexp.MustCompile(`(?:(https?)://)?%PUBLICADDR%(?::([0-9]{1,5}))?(?:%BASEURL%)?`)

// webService is what a template of an address says of where the job serves its web page.
type webService struct {
	// port is 0 when it names none.
	port int
	// encrypted says that the page is served by TLS.
	encrypted bool
}

func serviceOf(template string) webService {
	found := publicAddress.FindStringSubmatch(template)
	if found == nil || found[1] == "" {
		return webService{}
	}
	return webService{port: portOf(found), encrypted: found[1] == "https"}
}

// portOf returns the port of a match of publicAddress, 0 when it has none.
func portOf(match []string) int {
	port, err := strconv.Atoi(match[2])
	switch {
	case err == nil && port <= maxPort:
		return port
	case match[2] == "" && match[1] == "http":
		return 80
	case match[2] == "" && match[1] == "https":
		return 443
	default:
		return 0
	}
}

// basePath is the path of the web page that a command has where jobs share a host.
func basePath(definition *appdef.AppDef, key, number string) string {
	command, ok := definition.Command(key)
	if !ok {
		return ""
	}
	return sitePath(number, serviceOf(command.URL).port)
}

// addPages adds the address of the web page and the help of an interactive job, for who may act on it: they hold its password.
func (s *Service) addPages(
	ctx context.Context, caller berth.Caller, job berth.Job, answer *agentapi.InfoAnswer, info *JobInfo,
) error {
	if !caller.MayControl(job) {
		return nil
	}
	run, _, err := s.cfg.Store.Run(ctx, job.Number)
	if err != nil || !run.Interactive {
		return err
	}
	page := page{sites: s.cfg.Sites, job: job, run: run.Numbered(job.Number)}
	if template := page.template(answer); template != "" && !run.NoConnect {
		page.connect = withToken(page.fill(template), run.Random)
		info.URL = &page.connect
	}
	if answer.Help != "" {
		help := page.fill(answer.Help)
		info.Help = &help
	}
	return nil
}

// desktopURL is the template of a desktop whose image has none: what the desktops of the platform serve.
const desktopURL = "http://%PUBLICADDR%:5902/vnc.html?password=%NIMBIXPASSWD%&autoconnect=true&reconnect=true"

// templateOf is the template of a web page: that of the command, or else that of the image as it is now.
func templateOf(run berth.Run, answer *agentapi.InfoAnswer) string {
	template := cmp.Or(run.URL, answer.URL)
	if template == "" && run.Desktop {
		return desktopURL
	}
	return template
}

// tokenLength is that of the token of a job, the first characters of what only the job and its users know. Applications are given
// them too.
const tokenLength = 64

// withToken adds the token of a job to an address on this server, if there is one.
func withToken(address, random string) string {
	parsed, err := url.Parse(address)
	if err != nil || random == "" {
		return address
	}
	token := TokenParameter + "=" + random[:min(tokenLength, len(random))]
	if parsed.RawQuery != "" {
		token = parsed.RawQuery + "&" + token
	}
	parsed.RawQuery = token
	return parsed.String()
}

// page fills in templates of one job.
type page struct {
	sites Sites
	job   berth.Job
	run   berth.Run
	// connect is the filled in address of the web page, empty until it is known.
	connect string
}

// template is that of the address to which people connect, empty when there is none. What has no page of its own, and a command that runs
// on a terminal, has the page of the shell.
func (p *page) template(answer *agentapi.InfoAnswer) string {
	template := templateOf(p.run, answer)
	switch {
	case p.sites.Own() && (template == "" || p.run.Webshell):
		return p.sites.Address(Site{Number: p.job.Number, Shell: true}) + "/"
	case p.sites == Sites{}, p.run.Webshell:
		return ""
	default:
		return template
	}
}

func (p *page) fill(template string) string {
	text := publicAddress.ReplaceAllStringFunc(template, func(found string) string {
		match := publicAddress.FindStringSubmatch(found)
		address := p.sites.Address(Site{Number: p.job.Number, Port: portOf(match)})
		if match[1] != "" {
			return address
		}
		_, address, _ = strings.Cut(address, "://")
		return address
	})
	return appdef.Substitute(text, p.lookup)
}

func (p *page) lookup(name string) (string, bool) {
	switch name {
	case "NIMBIXPASSWD":
		return p.run.Password, true
	case "NIMBIXUSER":
		if p.job.Submission.Identity != nil {
			return p.job.Submission.Identity.Username, true
		}
		return berth.DefaultIdentity.Username, true
	case "JOBNAME":
		return p.job.Name, true
	case "BASEURL":
		return "/" + p.run.BasePath, true
	case "CONNECTURL":
		return p.connect, true
	default:
		return appdef.RandomPart(p.run.Random, name)
	}
}

package control

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/agentapi"
)

// served is a bench whose running jobs all say this of themselves, and are found at sites.
func served(t *testing.T, sites Sites, says agentapi.InfoAnswer) *bench {
	t.Helper()
	return newBench(t, func(c *Config) {
		c.Sites = sites
		c.Agents = agents(func(_ context.Context, _ string, req agentapi.Request) (agentapi.Answer, error) {
			if req.Info == nil {
				t.Errorf("an agent is asked for %+v", req)
			}
			return agentapi.Answer{Info: &says}, nil
		})
	})
}

// The sites of the tests.
var (
	sharedSites = Sites{Public: "https://berth.example.org:8443/"}
	ownSites    = Sites{Public: "https://berth.example.org:8443/", Domain: "jobs.example.org"}
)

// runApp submits an application with these members of its command and parameters, and starts it.
func (b *bench) runApp(t *testing.T, command, parameters string) (berth.Job, berth.Run) {
	t.Helper()
	id := "app" + strconv.FormatInt(time.Now().UnixNano(), 36)
	b.addApp(t, b.ada, id, appDef("", command, parameters))
	job, run := b.submitApp(t, b.ada, appRequest(id))
	b.start(t, job, "sleep 1000")
	return job, run
}

func TestAddressOfAWebPage(t *testing.T) {
	const public, own = "https://berth.example.org:8443/jobs/NUMBER", "https://NUMBER"
	for name, tt := range map[string]struct{ command, file, shared, own string }{
		"port":              {`"http://%PUBLICADDR%:8888/tree?token=%RANDOM64%"`, "", public + "/8888/tree?token=RANDOM64&TOKEN", own + "-8888DOMAIN/tree?token=RANDOM64&TOKEN"},
		"file of the image": {`""`, "https://%PUBLICADDR%:5902/vnc.html?p=%NIMBIXPASSWD%", public + "/5902/vnc.html?p=PASSWORD&TOKEN", own + "-5902DOMAIN/vnc.html?p=PASSWORD&TOKEN"},
		"both":              {`"http://%PUBLICADDR%/"`, "http://%PUBLICADDR%:1/", public + "/80/?TOKEN", own + "-80DOMAIN/?TOKEN"},
		"https":             {`"https://%PUBLICADDR%#x"`, "", public + "/443?TOKEN#x", own + "-443DOMAIN?TOKEN#x"},
		"no scheme":         {`"vnc://%PUBLICADDR%:5901/"`, "", "vnc://berth.example.org:8443/jobs/NUMBER/5901/?TOKEN", "vnc://NUMBER-5901DOMAIN/?TOKEN"},
		"user":              {`"http://%PUBLICADDR%:8080/%NIMBIXUSER%/%JOBNAME%"`, "", public + "/8080/nimbix/JOBNAME?TOKEN", own + "-8080DOMAIN/nimbix/JOBNAME?TOKEN"},
		"base":              {`"http://%PUBLICADDR%:8080%BASEURL%/x"`, "", public + "/8080/x?TOKEN", own + "-8080DOMAIN/x?TOKEN"},
		"unknown":           {`"http://%PUBLICADDR%:8080/%NOTHING%"`, "", public + "/8080/%NOTHING%", own + "-8080DOMAIN/%NOTHING%"},
		"none":              {`""`, "", "", own + "-shellDOMAIN/?TOKEN"},
		"desktop":           {`"","desktop":true`, "", public + "/5902/vnc.html?password=PASSWORD&autoconnect=true&reconnect=true&TOKEN", own + "-5902DOMAIN/vnc.html?password=PASSWORD&autoconnect=true&reconnect=true&TOKEN"},
		"web shell":         {`"http://%PUBLICADDR%:5902/","webshell":true`, "", "", own + "-shellDOMAIN/?TOKEN"},
	} {
		b := served(t, ownSites, agentapi.InfoAnswer{URL: tt.file, Help: "<a href='%CONNECTURL%'>%PUBLICADDR%</a> %NIMBIXPASSWD%"})
		for sites, want := range map[Sites]string{sharedSites: tt.shared, ownSites: tt.own, {}: ""} {
			b.cfg.Sites = sites
			testAddress(t, name, b, `"url":`+tt.command, want)
		}
	}
}

func testAddress(t *testing.T, name string, b *bench, command, want string) {
	t.Helper()
	job, run := b.runApp(t, `,"interactive":true,`+command, "")
	number := strconv.FormatInt(job.Number, 10)
	want = strings.NewReplacer("NUMBER", number, "TOKEN", "berth_token="+run.Random[:64], "RANDOM64", run.Random[:64],
		"PASSWORD", run.Password, "JOBNAME", job.Name, "DOMAIN", ".jobs.example.org:8443").Replace(want)
	info, err := b.Info(t.Context(), b.ada, JobRef{Number: job.Number})
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	if info.URL != nil {
		got = *info.URL
	}
	if name != "unknown" && got != want || !strings.HasPrefix(got, want) {
		t.Errorf("%s:\n got %s\nwant %s", name, got, want)
	}
	_, host, _ := strings.Cut(b.cfg.Sites.Address(Site{Number: job.Number}), "://")
	help := "<a href='" + got + "'>" + host + "</a> " + run.Password
	if info.Help == nil || *info.Help != help {
		t.Errorf("%s: help is %v; want %s", name, *info.Help, help)
	}
	// Who may only read gets neither.
	info, err = b.Info(t.Context(), b.reader, JobRef{Number: job.Number})
	if err != nil || info.URL != nil || info.Help != nil {
		t.Errorf("%s: a key for reading gets %v, %v, %v", name, info.URL, info.Help, err)
	}
}

func TestJobsWithoutAWebPage(t *testing.T) {
	b := served(t, sharedSites, agentapi.InfoAnswer{URL: "http://%PUBLICADDR%:8888/", Help: "help"})
	for command, help := range map[string]bool{
		``: false, `,"interactive":true,"noconnect":true`: true, `,"interactive":true,"noconnect":true,"url":"http://%PUBLICADDR%/"`: true,
	} {
		job, _ := b.runApp(t, command, "")
		info, err := b.Info(t.Context(), b.ada, JobRef{Number: job.Number})
		if err != nil || info.URL != nil || (info.Help != nil) != help {
			t.Errorf("%s: %v, %v, %v", command, info.URL, info.Help, err)
		}
	}
	// An interactive batch job has a page, with a token as that of an application.
	info, err := b.Info(t.Context(), b.ada, b.run(t, "sleep 1000"))
	if err != nil || info.URL == nil || !strings.Contains(*info.URL, "/8888/?"+TokenParameter+"=") {
		t.Errorf("an interactive batch job: %v, %v", info.URL, err)
	}
}

// TestCommandsAreToldTheirPath: the number of the job is put in when it has one, and the page gets the path.
func TestCommandsAreToldTheirPath(t *testing.T) {
	b := served(t, sharedSites, agentapi.InfoAnswer{Address: "10.0.0.2"})
	job, run := b.runApp(t, `,"interactive":true,"url":"http://%PUBLICADDR%:8888/x"`,
		constant("-base", "%BASEURL%", "required")+","+constant("BASE", "<%BASEURL%/>", "variable"))
	base := "jobs/" + strconv.FormatInt(job.Number, 10) + "/8888"
	numbered := run.Numbered(job.Number)
	if numbered.Shell != "/bin/run -base /"+base && numbered.Shell != `/bin/run -base "/`+base+`"` || numbered.BasePath != base {
		t.Errorf("it runs %s below %s", numbered.Shell, numbered.BasePath)
	}
	if diff := cmp.Diff([]berth.Setting{{Key: "BASE", Value: "</" + base + "/>"}}, numbered.Variables); diff != "" {
		t.Error(diff)
	}
	page, err := b.WebPage(t.Context(), Visitor{Caller: b.ada}, job.Number, 0)
	if err != nil || page.BasePath != base || page.Address.String() != "10.0.0.2:8888" {
		t.Errorf("page %+v, %v", page, err)
	}
	if _, plain := b.runApp(t, `,"interactive":true`, ""); plain.BasePath != "" || plain.NumberMark != "" {
		t.Errorf("a command that is not told has %q and %q", plain.BasePath, plain.NumberMark)
	}

	// Where the job has a host of its own it is all of it.
	b = served(t, ownSites, agentapi.InfoAnswer{Address: "10.0.0.2"})
	_, run = b.runApp(t, `,"interactive":true,"url":"http://%PUBLICADDR%:8888/x"`, constant("-base", "%BASEURL%", "required"))
	if run.Shell != "/bin/run -base /" || run.BasePath != "" || run.NumberMark != "" {
		t.Errorf("it runs %s below %q", run.Shell, run.BasePath)
	}
}

func TestWebPagePorts(t *testing.T) {
	b := served(t, sharedSites, agentapi.InfoAnswer{Address: "10.0.0.2", URL: "http://%PUBLICADDR%:7777/"})
	for name, tt := range map[string]struct {
		command         string
		served, refused []int
		secure          int
	}{
		"usual":      {`,"interactive":true,"url":"https://%PUBLICADDR%:9999/"`, []int{0, 9999, 80, 443, 5901, 5902, 8000, 8080, 8443, 8888}, []int{22, 81, 7777, 65536, -1}, 9999},
		"of its own": {`,"interactive":true,"ports":["5000/tcp","5001/udp"]`, []int{0, 7777, 5000}, []int{80, 5001, 8888}, 0},
		"none":       {`,"interactive":true,"ports":[]`, []int{0, 7777}, []int{80, 443, 8888}, 0},
		"batch":      {``, []int{8888, 443}, []int{0, 7777, 22}, 443},
	} {
		job, _ := b.runApp(t, tt.command, "")
		for _, port := range tt.served {
			page, err := b.WebPage(t.Context(), Visitor{Caller: b.ada}, job.Number, port)
			if err != nil || port != 0 && int(page.Address.Port()) != port || page.Address.Addr() != netip.MustParseAddr("10.0.0.2") {
				t.Errorf("%s: port %d: %+v, %v", name, port, page, err)
			}
			if port != 0 && port == tt.secure && !page.Encrypted || port == 80 && page.Encrypted {
				t.Errorf("%s: port %d: %+v", name, port, page)
			}
		}
		for _, port := range tt.refused {
			_, err := b.WebPage(t.Context(), Visitor{Caller: b.ada}, job.Number, port)
			wantError(t, err, berth.NotFound, "The job serves no such port")
		}
	}
}

func TestVisitorsOfAWebPage(t *testing.T) {
	b := served(t, sharedSites, agentapi.InfoAnswer{Address: "10.0.0.2"})
	job, run := b.runApp(t, `,"interactive":true`, "")
	other, otherRun := b.runApp(t, `,"interactive":true`, "")
	see := func(v Visitor, number int64) (WebPage, error) { return b.WebPage(t.Context(), v, number, 8888) }
	page, err := see(Visitor{Token: run.Random[:64]}, job.Number)
	if err != nil || page.Session == "" || strings.Contains(page.Session, run.Random[:16]) {
		t.Fatalf("page %+v, %v", page, err)
	}
	for name, v := range map[string]Visitor{
		"all of the token": {Token: run.Random}, "password": {Token: run.Password}, "session": {Sessions: []string{page.Session}}, "owner": {Caller: b.ada},
		"leader": {Caller: b.tess}, "administrator": {Caller: b.admin}, "session beside a guess": {Token: "guess", Sessions: []string{page.Session}},
	} {
		if _, err := see(v, job.Number); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, v := range map[string]Visitor{
		"nobody": {}, "a part": {Token: run.Random[:63]}, "token of another": {Token: otherRun.Random[:64]}, "password of another": {Token: otherRun.Password},
		"token as session": {Sessions: []string{run.Random}}, "guess": {Token: "x", Sessions: []string{"y"}},
	} {
		_, err := see(v, job.Number)
		wantError(t, err, berth.Unauthenticated, "Unauthorized")
		if err == nil {
			t.Errorf("%s is let in", name)
		}
	}
	_, err = see(Visitor{Sessions: []string{page.Session}}, other.Number)
	wantError(t, err, berth.Unauthenticated, "Unauthorized")
	_, err = see(Visitor{Token: run.Random}, 999)
	wantError(t, err, berth.Unauthenticated, "Unauthorized")
	_, err = see(Visitor{Caller: b.bob}, job.Number)
	wantError(t, err, berth.NotFound, "Not found")
	_, err = see(Visitor{Caller: b.reader}, job.Number)
	wantError(t, err, berth.Forbidden, "This key may only read")

	// An interactive batch job has secrets of its own, and no others let anybody in.
	batch := b.run(t, "sleep 1000").Number
	_, err = see(Visitor{Token: "", Sessions: []string{HashKey("session ")}}, batch)
	wantError(t, err, berth.Unauthenticated, "Unauthorized")
	if page, err := see(Visitor{Caller: b.ada}, batch); err != nil || page.Session == "" {
		t.Errorf("page %+v, %v", page, err)
	}

	b.apply(t, job.Number, berth.EventEnded)
	_, err = see(Visitor{Sessions: []string{page.Session}}, job.Number)
	wantError(t, err, berth.Unauthenticated, "Unauthorized")
	_, err = see(Visitor{Caller: b.ada}, job.Number)
	wantError(t, err, berth.NotFound, "Running job is not found")
}

// TestAddressesThatAreNoJobs: whatever a job says, the server connects to nothing of its own.
func TestAddressesThatAreNoJobs(t *testing.T) {
	for _, address := range []string{"", "127.0.0.1", "::1", "0.0.0.0", "169.254.169.254", "224.0.0.1", "::ffff:127.0.0.1", "localhost", "10.0.0.1:22"} {
		b := served(t, sharedSites, agentapi.InfoAnswer{Address: address})
		job, _ := b.runApp(t, "", "")
		_, err := b.WebPage(t.Context(), Visitor{Caller: b.ada}, job.Number, 80)
		wantError(t, err, berth.Unavailable, "The job has no network")
	}
}

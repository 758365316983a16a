package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

const filePath = "/v1/vaults/data/files/"

// vaultAPI is a server with a vault in which the files with these texts are.
func vaultAPI(t *testing.T, files map[string]string, change ...func(*Config)) *testAPI {
	t.Helper()
	a := newTestAPI(t, change...)
	a.vaultDir = t.TempDir()
	for name, text := range files {
		path := filepath.Join(a.vaultDir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return a
}

// own sends a request with a bearer key and headers.
func (a *testAPI) own(method, path, key, body string, header ...string) answer {
	a.t.Helper()
	req := a.request(method, path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+key)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return a.do(req)
}

func TestVaultListing(t *testing.T) {
	a := vaultAPI(t, map[string]string{"b": "12", "a <&> b": "123", "c": "1", "dir/x": "", "bad\xffname": ""})
	times := map[string]int64{"b": 30, "a <&> b": 10, "c": 20, "dir": 40, "bad\xffname": 50}
	for name, at := range times {
		if err := os.Chtimes(filepath.Join(a.vaultDir, name), time.Unix(at, 0), time.Unix(at, 0)); err != nil {
			t.Fatal(err)
		}
	}
	plain := `[["a <&> b",0,0],["b",0,0],["bad` + "\uFFFD" + `name",0,0],["c",0,0],["dir/",0,0]]`
	for name, test := range map[string]struct {
		pairs []string
		want  string
	}{
		"plain":         {nil, plain},
		"not details":   {[]string{"details", "false", "sort", "n"}, plain},
		"quoted sort":   {[]string{"sort", `"n"`}, plain},
		"reverse":       {[]string{"sort", "N"}, `[["dir/",0,0],["c",0,0],["bad` + "\uFFFD" + `name",0,0],["b",0,0],["a <&> b",0,0]]`},
		"details":       {[]string{"details", "True"}, `[["a <&> b",3,10],["b",2,30],["bad` + "\uFFFD" + `name",0,50],["c",1,20],["dir/",0,40]]`},
		"by size":       {[]string{"details", "true", "sort", "s"}, `[["bad` + "\uFFFD" + `name",0,50],["dir/",0,40],["c",1,20],["b",2,30],["a <&> b",3,10]]`},
		"largest first": {[]string{"details", "true", "sort", "S"}, `[["a <&> b",3,10],["b",2,30],["c",1,20],["dir/",0,40],["bad` + "\uFFFD" + `name",0,50]]`},
		"by time":       {[]string{"details", "true", "sort", "m"}, `[["a <&> b",3,10],["c",1,20],["b",2,30],["dir/",0,40],["bad` + "\uFFFD" + `name",0,50]]`},
		"newest first":  {[]string{"details", "true", "sort", "M"}, `[["bad` + "\uFFFD" + `name",0,50],["dir/",0,40],["b",2,30],["c",1,20],["a <&> b",3,10]]`},
		"a directory":   {[]string{"path", "/dir/"}, `[["x",0,0]]`},
	} {
		p := with(append([]string{"vault", "data", "path", "/"}, test.pairs...)...)
		for way, send := range ways() {
			got := send(a, "/jarvice/vault", p)
			if got.status != http.StatusOK || got.body != test.want {
				t.Errorf("%s, %s: status %d: %s", name, way, got.status, got.body)
			}
		}
	}
}

func TestVaultListingRefusals(t *testing.T) {
	a := vaultAPI(t, map[string]string{"file": ""})
	if err := os.Symlink("/etc", filepath.Join(a.vaultDir, "link")); err != nil {
		t.Fatal(err)
	}
	dir := func(pairs ...string) map[string]string {
		return with(append([]string{"vault", "data", "path", "/"}, pairs...)...)
	}
	for name, want := range map[string]refusal{
		"no vault":       {with("path", "/"), 400, "Required parameter(s) missing: vault"},
		"no path":        {with("vault", "data", "path", ""), 400, "Required parameter(s) missing: path"},
		"wrong key":      {dir("apikey", "nope"), 401, "Unauthorized"},
		"unknown vault":  {dir("vault", "none"), 400, "Invalid parameter(s): there is no vault or directory of this name"},
		"no directory":   {dir("path", "none"), 400, "Invalid parameter(s): there is no vault or directory of this name"},
		"a file":         {dir("path", "file"), 400, "Invalid parameter(s): path: "},
		"link out":       {dir("path", "link"), 400, "Invalid parameter(s): path: "},
		"dots":           {dir("path", "/x/../../etc"), 400, "Invalid parameter(s): path: a path has no .."},
		"sort":           {dir("sort", "x"), 400, `Invalid parameter(s): sort: "x" was sent, `},
		"sort, no sizes": {dir("sort", "S"), 400, "Invalid parameter(s): sort: by size or time needs details=true"},
	} {
		for way, send := range ways() {
			got := send(a, "/jarvice/vault", want.p)
			if text := got.errorText(t); got.status != want.status || !matches(text, want.text) {
				t.Errorf("%s, %s: status %d: %s", name, way, got.status, text)
			}
		}
	}
	a.fail["OpenVault"] = berth.Errorf(berth.Unsupported, "No files")
	if got := a.own(http.MethodGet, "/jarvice/vault?vault=data&path=/", testKey, ""); got.status != http.StatusNotImplemented {
		t.Errorf("status %d", got.status)
	}
}

// TestListingsHaveALimitTogether: a listing for which there is no memory is refused for the moment.
func TestListingsHaveALimitTogether(t *testing.T) {
	files := map[string]string{}
	for i := range 100 {
		files[fmt.Sprint("file", i)] = ""
	}
	a := vaultAPI(t, files, func(cfg *Config) { cfg.MaxBody, cfg.MaxBodies, cfg.Patience = 1, 10_000, time.Millisecond })
	got := a.own(http.MethodGet, "/jarvice/vault?vault=data&path=/", testKey, "")
	if text := got.errorText(t); got.status != http.StatusServiceUnavailable || !strings.HasPrefix(text, "Server busy") {
		t.Errorf("status %d: %s", got.status, text)
	}
}

// TestALargeDirectory: a listing of 100,000 entries is complete, and takes little memory beyond the entries themselves.
func TestALargeDirectory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can mount, and on a disk it takes long to make so many files")
	}
	const entries = 100_000
	a := vaultAPI(t, nil)
	if err := syscall.Mount("tmpfs", a.vaultDir, "tmpfs", 0, "size=256m,nr_inodes=0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(a.vaultDir, 0); err != nil {
			t.Error(err)
		}
	})
	for i := range entries { // links are the cheapest files
		if err := os.Symlink("x", filepath.Join(a.vaultDir, fmt.Sprintf("file-%06d", i))); err != nil {
			t.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	// Without the check by the contract, which takes far longer.
	path := "/jarvice/vault?vault=data&path=/&details=true&sort=N&username=" + testUser + "&apikey=" + testKey
	resp, err := http.DefaultClient.Do(a.request(http.MethodGet, path, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var list [][]any
	err = json.NewDecoder(resp.Body).Decode(&list)
	runtime.ReadMemStats(&after)
	if err != nil || len(list) != entries || list[0][0] != "file-099999" {
		t.Errorf("status %d, %d entries, %v", resp.StatusCode, len(list), err)
	}
	if peak := after.HeapSys - before.HeapSys; after.HeapSys > before.HeapSys && peak > 256<<20 {
		t.Errorf("the heap grew by %d MiB", peak>>20)
	}
}

func TestFilesOverHTTP(t *testing.T) {
	a := vaultAPI(t, map[string]string{"dir/f": "0123456789", "a b%c": "escaped"})
	whole := a.own(http.MethodGet, filePath+"dir/f", testKey, "")
	if whole.status != 200 || whole.body != "0123456789" || whole.header.Get("Content-Type") != contentBytes ||
		whole.header.Get("X-Content-Type-Options") != "nosniff" || whole.header.Get("Content-Disposition") != "attachment" {
		t.Errorf("status %d, %v: %s", whole.status, whole.header, whole.body)
	}
	tag := whole.header.Get("ETag")
	for name, test := range map[string]struct {
		header []string
		status int
		body   string
	}{
		"range":                     {[]string{"Range", "bytes=3-5"}, 206, "345"},
		"to the end":                {[]string{"Range", "bytes=8-"}, 206, "89"},
		"the same file":             {[]string{"Range", "bytes=8-", "If-Range", tag}, 206, "89"},
		"another file":              {[]string{"Range", "bytes=8-", "If-Range", `"x"`}, 200, "0123456789"},
		"behind the end":            {[]string{"Range", "bytes=10-"}, 416, `{"error":"Requested Range Not Satisfiable"}`},
		"a condition that fails":    {[]string{"If-Match", `"x"`}, 412, `{"error":"Precondition Failed"}`},
		"what is no range is whole": {[]string{"Range", "lines=3-5"}, 416, `{"error":"Requested Range Not Satisfiable"}`},
	} {
		got := a.own(http.MethodGet, filePath+"dir/f", testKey, "", test.header...)
		if got.status != test.status || got.body != test.body {
			t.Errorf("%s: status %d: %s", name, got.status, got.body)
		}
	}
	if got := a.own(http.MethodGet, filePath+"a%20b%25c", testKey, ""); got.body != "escaped" {
		t.Errorf("status %d: %s", got.status, got.body)
	}
	req := a.request(http.MethodHead, filePath+"dir/f?username="+testUser+"&apikey="+testKey, nil)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.ContentLength != 10 {
		t.Errorf("HEAD: status %d, length %d", resp.StatusCode, resp.ContentLength)
	}
}

// TestALargeFile: more than one piece, and exactly what was stored.
func TestALargeFile(t *testing.T) {
	a := vaultAPI(t, nil)
	text := strings.Repeat("0123456789abcdef", 3*maxPiece/16) + "end"
	if got := a.own(http.MethodPut, filePath+"large", testKey, text); got.body != fmt.Sprintf(`{"status":"stored","size":%d}`, len(text)) {
		t.Errorf("status %d: %s", got.status, got.body)
	}
	if got := a.own(http.MethodGet, filePath+"large", testKey, ""); got.body != text {
		t.Errorf("status %d, %d bytes", got.status, len(got.body))
	}
	if got := a.own(http.MethodGet, filePath+"large", testKey, "", "Range", "bytes=1-"); got.body != text[1:] {
		t.Errorf("status %d, %d bytes", got.status, len(got.body))
	}
}

func TestFilesAreChanged(t *testing.T) {
	a := vaultAPI(t, nil)
	for _, step := range []struct {
		method, path, want string
	}{
		{http.MethodPut, "new/dir/f", `{"status":"stored","size":4}`},
		{http.MethodPut, "made?directory=true", `{"status":"made"}`},
		{http.MethodDelete, "new/dir/f", `{"status":"removed"}`},
		{http.MethodDelete, "new?recursive=true", `{"status":"removed"}`},
	} {
		body := ""
		if step.method == http.MethodPut {
			body = "text"
		}
		if got := a.own(step.method, filePath+step.path, testKey, body); got.status != 200 || got.body != step.want {
			t.Errorf("%s %s: status %d: %s", step.method, step.path, got.status, got.body)
		}
	}
	left, err := os.ReadDir(a.vaultDir)
	if err != nil || len(left) != 2 || left[1].Name() != "made" {
		t.Errorf("left %v, %v", left, err)
	}
}

// TestABrokenUploadOverHTTP breaks a connection in the middle of a body.
func TestABrokenUploadOverHTTP(t *testing.T) {
	a := vaultAPI(t, nil)
	const upload = "?upload=upload01"
	reader, writer := io.Pipe()
	done := make(chan error, 1)
	go func() {
		req := a.request(http.MethodPut, filePath+"f"+upload, reader)
		req.Header.Set("Authorization", "Bearer "+testKey)
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = resp.Body.Close()
		}
		done <- err
	}()
	if _, err := io.WriteString(writer, "abc"); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(a.vaultDir, ".berth-uploads", "upload01")
	awaitSize(t, part, 3)
	writer.CloseWithError(io.ErrUnexpectedEOF)
	if err := <-done; err == nil {
		t.Error("the request did not break")
	}
	if got := a.own(http.MethodGet, filePath+"f", testKey, ""); got.status != http.StatusNotFound {
		t.Errorf("half of it is there: status %d: %s", got.status, got.body)
	}
	if got := a.own(http.MethodGet, "/v1/vaults/data/uploads/upload01", testKey, ""); got.body != `{"offset":3}` {
		t.Errorf("status %d: %s", got.status, got.body)
	}
	var got answer
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		got = a.own(http.MethodPut, filePath+"f"+upload+"&offset=3", testKey, "def")
		if got.status != http.StatusServiceUnavailable { // the broken request may not have noticed yet
			break
		}
	}
	if diff := cmp.Diff(`{"status":"stored","size":6}`, got.body); diff != "" {
		t.Error(diff)
	}
	if got := a.own(http.MethodGet, filePath+"f", testKey, ""); got.body != "abcdef" {
		t.Errorf("status %d: %s", got.status, got.body)
	}
}

func awaitSize(t *testing.T, path string, size int64) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if info, err := os.Stat(path); err == nil && info.Size() == size {
			return
		}
	}
	t.Fatalf("%s has never %d bytes", path, size)
}

func TestFileRefusals(t *testing.T) {
	a := vaultAPI(t, map[string]string{"file": "", "dir/x": ""})
	for name, want := range map[string]struct {
		method, path, key string
		status            int
		text              string
	}{
		"read-only key, put":       {http.MethodPut, filePath + "f", readKey, 403, "This key may only read"},
		"read-only key, delete":    {http.MethodDelete, filePath + "file", readKey, 403, "This key may only read"},
		"unknown vault":            {http.MethodGet, "/v1/vaults/none/files/x", testKey, 404, "Vault not found"},
		"unknown file":             {http.MethodGet, filePath + "none", testKey, 404, "No such file or directory: none"},
		"unknown file to delete":   {http.MethodDelete, filePath + "none", testKey, 404, "No such file or directory: none"},
		"a directory":              {http.MethodGet, filePath + "dir", testKey, 400, "Invalid parameter(s): "},
		"the top":                  {http.MethodGet, filePath, testKey, 400, "Invalid parameter(s): "},
		"dots":                     {http.MethodGet, filePath + "%2e%2e/x", testKey, 400, "Invalid parameter(s): path: a path has no .."},
		"NUL":                      {http.MethodGet, filePath + "%00", testKey, 400, "Invalid parameter(s): path: a path has no NUL"},
		"below a file":             {http.MethodPut, filePath + "file/x", testKey, 409, "Something is in the way: "},
		"a directory in the way":   {http.MethodPut, filePath + "dir", testKey, 400, "Invalid parameter(s): path: dir: is a directory"},
		"directory with something": {http.MethodDelete, filePath + "dir", testKey, 409, "Something is in the way: "},
		"offset is no number":      {http.MethodPut, filePath + "f?upload=upload01&offset=x", testKey, 400, "Bad Request: offset: "},
		"gap":                      {http.MethodPut, filePath + "f?upload=upload01&offset=7", testKey, 409, "The upload has 0 bytes, "},
		"name of an upload":        {http.MethodPut, filePath + "f?upload=X", testKey, 400, "Invalid parameter(s): upload: "},
		"unknown upload":           {http.MethodGet, "/v1/vaults/data/uploads/nothing1", testKey, 404, "No such file or directory: nothing1"},
	} {
		body := ""
		if want.method == http.MethodPut {
			body = "text"
		}
		got := a.own(want.method, want.path, want.key, body)
		if text := got.errorText(t); got.status != want.status || !strings.HasPrefix(text, want.text) {
			t.Errorf("%s: status %d: %s", name, got.status, text)
		}
	}
	if left, err := os.ReadDir(a.vaultDir); err != nil || len(left) != 3 {
		t.Errorf("left %v, %v", left, err)
	}
}

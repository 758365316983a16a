package control

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
)

// fakeDirs are directories of file vaults that nobody makes.
type fakeDirs struct {
	full    map[string]bool
	removed []string
}

func (d *fakeDirs) FilePath(user, name string) string { return "/vaults/" + user + "/" + name }

func (d *fakeDirs) Empty(v berth.Vault) (bool, error) { return !d.full[v.Path], nil }

func (d *fakeDirs) Remove(v berth.Vault, _ bool) error {
	d.removed = append(d.removed, v.Path)
	return nil
}

// bucketOf is a new object vault.
func bucketOf(name string, change ...func(*VaultRequest)) VaultRequest {
	req := VaultRequest{
		Name: name, Kind: berth.VaultObject, Bucket: berth.Bucket{Endpoint: "https://s3.example.org/", Name: "results", Prefix: "p/"},
		Credentials: berth.Credentials{AccessKey: "access", SecretKey: "secret"},
	}
	for _, f := range change {
		f(&req)
	}
	return req
}

func (b *bench) addVault(t *testing.T, caller berth.Caller, req VaultRequest) berth.Vault {
	t.Helper()
	v, err := b.AddVault(t.Context(), caller, req)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestWhoMakesVaults(t *testing.T) {
	b := newBench(t, func(c *Config) { c.ObjectEndpoints = []string{"http://minio.internal:9000"} })
	kind := func(kind berth.VaultKind) func(*VaultRequest) {
		return func(req *VaultRequest) {
			req.Kind, req.Bucket, req.Credentials = kind, berth.Bucket{}, berth.Credentials{}
		}
	}
	of := func(owner string) func(*VaultRequest) { return func(req *VaultRequest) { req.Owner = owner } }
	at := func(endpoint string) func(*VaultRequest) {
		return func(req *VaultRequest) { req.Bucket.Endpoint = endpoint }
	}
	token := b.ada
	token.Job = 7
	for name, test := range map[string]struct {
		caller berth.Caller
		req    VaultRequest
		kind   berth.Kind
		text   string
	}{
		"another's":            {b.ada, bucketOf("v", of("bob")), berth.Forbidden, "Only an administrator may do this"},
		"by a key for reading": {b.reader, bucketOf("v"), berth.Forbidden, "This key may only read"},
		"by a token":           {token, bucketOf("v"), berth.Forbidden, "A job's token may not do this"},
		"a file vault":         {b.ada, bucketOf("v", kind(berth.VaultFile)), berth.Forbidden, "Only an administrator may make and remove a vault"},
		"no kind":              {b.admin, bucketOf("v", kind("tape")), berth.Invalid, `Invalid parameter(s): kind: "tape" is not one of file, object, block, block-array`},
		"of nobody":            {b.admin, bucketOf("v", of("carol")), berth.NotFound, "User not found"},
		"the name of a folder": {b.admin, bucketOf(".."), berth.Invalid, `Invalid parameter(s): name: ".."`},
		"no name":              {b.ada, bucketOf("a@b"), berth.Invalid, `Invalid parameter(s): name: "a@b"`},
		"a name that is there": {b.ada, bucketOf("data"), berth.Conflict, "There is a vault of that name: data"},
		"no endpoint":          {b.ada, bucketOf("v", at("")), berth.Invalid, `Invalid parameter(s): endpoint: ""`},
		"an endpoint of files": {b.ada, bucketOf("v", at("file:///etc")), berth.Invalid, "Invalid parameter(s): endpoint: "},
		"an endpoint in path":  {b.ada, bucketOf("v", at("https://x/y")), berth.Invalid, "Invalid parameter(s): endpoint: "},
		"credentials in it":    {b.ada, bucketOf("v", at("https://a:b@x")), berth.Invalid, "Invalid parameter(s): endpoint: "},
		"half of credentials": {
			b.ada, bucketOf("v", func(req *VaultRequest) { req.Credentials.SecretKey = "" }), berth.Invalid,
			"Invalid parameter(s): secret_key: an access key and a secret key go together",
		},
		"a file vault with a bucket": {
			b.admin, bucketOf("v", func(req *VaultRequest) { req.Kind = berth.VaultFile }), berth.Invalid,
			"Invalid parameter(s): kind: only object vaults have a bucket",
		},
		"shared by who is in no team": {
			b.bob, bucketOf("v", func(req *VaultRequest) { req.Share = ShareRead }), berth.Invalid,
			"Invalid parameter(s): share: bob is in no team",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := b.AddVault(t.Context(), test.caller, test.req)
			wantError(t, err, test.kind, test.text)
		})
	}
	for name, test := range map[string]struct {
		caller  berth.Caller
		req     VaultRequest
		trusted bool
	}{
		"own":           {b.ada, bucketOf("v"), false},
		"known server":  {b.ada, bucketOf("w", at("http://minio.internal:9000/")), true},
		"of an admin":   {b.admin, bucketOf("v", of("bob")), true},
		"a file vault":  {b.admin, bucketOf("f", kind(berth.VaultFile), of("bob")), false},
		"another's own": {b.bob, bucketOf("x"), false},
	} {
		v := b.addVault(t, test.caller, test.req)
		if v.Bucket.Trusted != test.trusted || strings.HasSuffix(v.Bucket.Endpoint, "/") {
			t.Errorf("%s: %+v", name, v)
		}
	}
	if v, err := b.Vault(t.Context(), b.bob, "f"); err != nil || v.Path != "/vaults/bob/f" {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestSharedVaults(t *testing.T) {
	b := newBench(t)
	b.addVault(t, b.ada, bucketOf("v", func(req *VaultRequest) { req.Share = ShareRead }))
	want := berth.Vault{
		Name: "v", Owner: "ada", Kind: berth.VaultObject, Team: "red", TeamReadOnly: true,
		Bucket: berth.Bucket{Endpoint: "https://s3.example.org", Name: "results", Prefix: "p/"},
	}
	vaults, err := b.Vaults(t.Context(), b.mia, "")
	if err != nil || len(vaults) != 2 || cmp.Diff(want, vaults[1]) != "" {
		t.Errorf("vaults of mia: %+v, %v", vaults, err)
	}
	req := request()
	req.Submission.Vault = berth.VaultRequest{Name: "v@ada", Objects: []string{"x"}}
	if job, err := b.Batch(t.Context(), b.mia, req); err != nil || !job.Submission.Vault.ReadOnly || job.Submission.Vault.Name != "v@ada" {
		t.Errorf("job %+v, %v", job.Submission.Vault, err)
	}
	if job, err := b.Batch(t.Context(), b.ada, req); err != nil || job.Submission.Vault.ReadOnly || job.Submission.Vault.Name != "v" {
		t.Errorf("job %+v, %v", job.Submission.Vault, err)
	}
	_, err = b.Batch(t.Context(), b.bob, req)
	wantError(t, err, berth.Invalid, `Missing or Malformed API Syntax: vault.name: you have no vault "v@ada"`)
	_, err = b.Vault(t.Context(), b.bob, "v@ada")
	wantError(t, err, berth.NotFound, "Vault not found")
	_, err = b.ChangeVault(t.Context(), b.mia, "v@ada", VaultChange{Share: new(ShareWrite)})
	wantError(t, err, berth.Forbidden, "Only an administrator may do this")
	_, err = b.Vaults(t.Context(), b.mia, "ada")
	wantError(t, err, berth.Forbidden, "Only an administrator may do this")
	if _, err := b.ChangeVault(t.Context(), b.admin, "v@ada", VaultChange{Share: new(ShareNone)}); err != nil {
		t.Fatal(err)
	}
	_, err = b.Vault(t.Context(), b.mia, "v@ada")
	wantError(t, err, berth.NotFound, "Vault not found")
	if all, err := b.Vaults(t.Context(), b.admin, "ada"); err != nil || len(all) != 2 || all[1].Team != "" {
		t.Errorf("vaults of ada: %+v, %v", all, err)
	}
}

func TestTheDefaultVault(t *testing.T) {
	b := newBench(t)
	ask := func(want string) {
		t.Helper()
		if job, err := b.Batch(t.Context(), b.ada, request()); err != nil || job.Submission.Vault.Name != want {
			t.Errorf("a job without a vault got %q, %v; want %s", job.Submission.Vault.Name, err, want)
		}
	}
	ask(berth.EphemeralVault)
	if _, err := b.ChangeVault(t.Context(), b.ada, "data", VaultChange{Default: new(true)}); err != nil {
		t.Fatal(err)
	}
	ask("data")
	if _, err := b.ChangeVault(t.Context(), b.ada, "data", VaultChange{Default: new(false)}); err != nil {
		t.Fatal(err)
	}
	ask(berth.EphemeralVault)
}

func TestWhatIsAskedOfAVault(t *testing.T) {
	b := newBench(t)
	b.addVault(t, b.ada, bucketOf("v"))
	b.addVault(t, b.ada, bucketOf("any", func(req *VaultRequest) { req.Bucket.Name = "" }))
	for name, test := range map[string]struct {
		req  berth.VaultRequest
		want string
	}{
		"objects of a file vault": {berth.VaultRequest{Name: "data", Objects: []string{"x"}}, "vault.objects: nothing is allowed: data is no object vault"},
		"a bucket of none":        {berth.VaultRequest{Name: "ephemeral", Bucket: "abc"}, "vault.bucket: nothing is allowed: ephemeral is no object vault"},
		"another bucket":          {berth.VaultRequest{Name: "v", Bucket: "other"}, `vault.bucket: "other" is not that of the vault v, which is results`},
		"no bucket":               {berth.VaultRequest{Name: "any"}, `vault.bucket: "" is no name of a bucket, and the vault any has none`},
		"the same bucket":         {berth.VaultRequest{Name: "v", Bucket: "results"}, ""},
		"a bucket":                {berth.VaultRequest{Name: "any", Bucket: "other", Objects: []string{"x"}}, ""},
	} {
		req := request()
		req.Submission.Vault = test.req
		_, err := b.Batch(t.Context(), b.ada, req)
		if test.want == "" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		wantError(t, err, berth.Invalid, "Missing or Malformed API Syntax: "+test.want)
	}
}

func TestRemovedVaults(t *testing.T) {
	dirs := &fakeDirs{full: map[string]bool{"/vaults/ada": true}}
	b := newBench(t, func(c *Config) { c.VaultDirs = dirs })
	b.addVault(t, b.ada, bucketOf("v"))
	req := request()
	req.Submission.Vault.Name = "v"
	job, err := b.Batch(t.Context(), b.ada, req)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, b.RemoveVault(t.Context(), b.ada, "v", true), berth.Conflict, "A job uses the vault: job 1 has not ended")
	b.apply(t, job.Number, berth.EventStopRequested)
	wantError(t, b.RemoveVault(t.Context(), b.mia, "v@ada", false), berth.NotFound, "Vault not found")
	if err := b.RemoveVault(t.Context(), b.ada, "v", false); err != nil {
		t.Error(err)
	}
	wantError(t, b.RemoveVault(t.Context(), b.ada, "v", false), berth.NotFound, "Vault not found")
	wantError(t, b.RemoveVault(t.Context(), b.ada, "data", true), berth.Forbidden, "Only an administrator may make and remove a vault")
	wantError(t, b.RemoveVault(t.Context(), b.admin, "data@ada", false), berth.Conflict, "The vault is not empty")
	if err := b.RemoveVault(t.Context(), b.admin, "data@ada", true); err != nil || dirs.removed[1] != "/vaults/ada" {
		t.Errorf("%v, %v", err, dirs.removed)
	}
}

// TestCredentialsAreNowhere but where they are needed: not in the audit log, nor in errors.
func TestCredentialsAreNowhere(t *testing.T) {
	b := newBench(t)
	b.addVault(t, b.ada, bucketOf("v"))
	if _, err := b.ChangeVault(t.Context(), b.ada, "v", VaultChange{Credentials: &berth.Credentials{AccessKey: "access2", SecretKey: "secret2"}}); err != nil {
		t.Fatal(err)
	}
	got, err := b.store.VaultCredentials(t.Context(), "ada", "v")
	if err != nil || got.SecretKey != "secret2" {
		t.Errorf("credentials %v, %v", got, err)
	}
	record := b.lastRecord(t)
	if record.Act.Kind != berth.ActVaultChanged || record.Act.Subject != "v@ada" || !strings.HasSuffix(record.Act.Detail, " credentials changed") ||
		strings.Contains(record.Act.Detail, "secret") || strings.Contains(record.Act.Detail, "access") {
		t.Errorf("record %+v", record.Act)
	}
	_, err = b.ChangeVault(t.Context(), b.ada, "v", VaultChange{Credentials: &berth.Credentials{AccessKey: "a\nsecret", SecretKey: "b\nsecret"}})
	if berth.KindOf(err) != berth.Invalid || strings.Contains(err.Error(), "secret\"") {
		t.Errorf("%v", err)
	}
	_, err = b.ChangeVault(t.Context(), b.ada, "data", VaultChange{Credentials: &berth.Credentials{}})
	wantError(t, err, berth.Invalid, "Invalid parameter(s): access_key: only object vaults")
}

func TestKeptData(t *testing.T) {
	looked := make(chan int64, 10)
	b := newBench(t, func(c *Config) { c.LookAtKept = func(number int64) { looked <- number } })
	job := b.submit(t)
	b.apply(t, job.Number, berth.EventPlaced, berth.EventStarted, berth.EventStaging)
	if _, err := b.store.Apply(t.Context(), job.Number, berth.Event{Kind: berth.EventStaged, At: job.Submitted, Detail: "a file"}); err != nil {
		t.Fatal(err)
	}
	want := []berth.Kept{{Number: job.Number, Owner: "ada", Detail: "a file"}}
	for name, test := range map[string]struct {
		caller   berth.Caller
		everyone bool
		want     []berth.Kept
	}{"the owner": {b.ada, false, want}, "another": {b.bob, false, nil}, "an administrator": {b.admin, true, want}} {
		if kept, err := b.KeptData(t.Context(), test.caller, test.everyone); err != nil || cmp.Diff(test.want, kept) != "" {
			t.Errorf("%s: %+v, %v", name, kept, err)
		}
	}
	_, err := b.KeptData(t.Context(), b.ada, true)
	wantError(t, err, berth.Forbidden, "Only an administrator")
	wantError(t, b.WishKept(t.Context(), b.bob, job.Number, berth.KeptWishDrop), berth.NotFound, "Not found")
	wantError(t, b.WishKept(t.Context(), b.reader, job.Number, berth.KeptWishDrop), berth.Forbidden, "This key may only read")
	wantError(t, b.WishKept(t.Context(), b.ada, b.submit(t).Number, berth.KeptWishDrop), berth.NotFound, "No data of the job is kept")
	if err := b.WishKept(t.Context(), b.tess, job.Number, berth.KeptWishSave); err != nil {
		t.Fatal(err)
	}
	if number := <-looked; number != job.Number {
		t.Errorf("looked at %d", number)
	}
	if kept, found, err := b.store.Kept(t.Context(), job.Number); err != nil || !found || kept.Wish != berth.KeptWishSave {
		t.Errorf("kept %+v, %v, %v", kept, found, err)
	}
	if record := b.lastRecord(t); record.Act.Kind != berth.ActKeptWished || record.Act.Subject != "1" || record.Act.Detail != "save" {
		t.Errorf("record %+v", record.Act)
	}
}

// TestVaultTypesOfAnApplication are held to; a script for the image of one has none.
func TestVaultTypesOfAnApplication(t *testing.T) {
	b, _ := newBlockBench(t)
	b.addApp(t, b.ada, "picky", strings.Replace(simpleAppDef, `"vault-types":["NONE","FILE"]`, `"vault-types":["FILE","OBJECT"]`, 1))
	b.addApp(t, b.ada, "block", strings.Replace(simpleAppDef, `"vault-types":["NONE","FILE"]`, `"vault-types":["BLOCK"]`, 1))
	b.addVault(t, b.ada, blockOf("home"))
	b.addVault(t, b.ada, blockOf("array", array(2)))
	b.addApp(t, b.ada, "any", strings.Replace(simpleAppDef, `"vault-types":["NONE","FILE"]`, `"vault-types":[]`, 1))
	b.addVault(t, b.ada, bucketOf("v"))
	for _, test := range []struct{ app, vault, want string }{
		{"picky", "data", ""},
		{"picky", "v", ""},
		{"any", "ephemeral", ""},
		{"block", "home", ""},
		{"picky", "home", "home is of type BLOCK, the application takes FILE, OBJECT"},
		{"block", "array", "array is of type BLOCK_ARRAY, the application takes BLOCK"},
		{"picky", "", "ephemeral is of type NONE, the application takes FILE, OBJECT"},
	} {
		req := appRequest(test.app)
		req.Submission.Vault.Name = test.vault
		_, err := b.SubmitApplication(t.Context(), b.ada, req)
		if test.want == "" && err != nil {
			t.Errorf("%s with %s: %v", test.app, test.vault, err)
		} else if test.want != "" {
			wantError(t, err, berth.Invalid, "Missing or Malformed API Syntax: vault.name: "+test.want)
		}
	}
}

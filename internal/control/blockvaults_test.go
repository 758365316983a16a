package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
	"github.com/berth-hpc/berth/internal/volume"
)

// fakeVolumes are volumes that nobody makes, up to 1 TiB.
type fakeVolumes struct {
	made []volume.Spec
	// there are the paths of those that have not been removed.
	there []string
	busy  bool
	// repaired are those that were, changed is the path and the new password of the one whose password was changed last.
	repaired []string
	changed  string
	fails    error
	// making is called before one is made, repairing before one is repaired or its password is changed, unless they are nil.
	making, repairing func()
}

func (f *fakeVolumes) Create(_ context.Context, spec volume.Spec) (string, error) {
	if f.making != nil {
		f.making()
	}
	if spec.Size > 1<<40 {
		return "", fmt.Errorf("new volume: %w", berth.Errorf(berth.NoSpace, "The server's disk is too small"))
	}
	f.made = append(f.made, spec)
	path := fmt.Sprint("/volumes/", len(f.made))
	f.there = append(f.there, path)
	return path, nil
}

func (f *fakeVolumes) Remove(_ context.Context, path string) error {
	if f.busy {
		return fmt.Errorf("remove: %w", &volume.Busy{Attempts: []string{"berth-1-a"}, Writer: true})
	}
	f.there = slices.DeleteFunc(f.there, func(p string) bool { return p == path })
	return nil
}

func (f *fakeVolumes) Repair(_ context.Context, path string) error {
	if f.repairing != nil {
		f.repairing()
	}
	if f.busy {
		return fmt.Errorf("repair: %w", &volume.Busy{Attempts: []string{"berth-1-a"}, Writer: true})
	}
	f.repaired = append(f.repaired, path)
	return f.fails
}

func (f *fakeVolumes) ChangePassword(_ context.Context, path, old, changed string) error {
	if f.repairing != nil {
		f.repairing()
	}
	if f.busy {
		return fmt.Errorf("password: %w", &volume.Busy{Attempts: []string{"berth-1-a"}})
	}
	if old != password {
		return fmt.Errorf("password: %w", volume.ErrPassword)
	}
	f.changed = path + " " + changed
	return f.fails
}

func openNothing(context.Context, berth.Vault, bool) (VaultFiles, error) { return nil, nil }

func fakeSeal(secret, purpose string) string { return "sealed " + secret + " for " + purpose }

// newBlockBench has volumes, of which users may make 10 GiB each.
func newBlockBench(t *testing.T) (*bench, *fakeVolumes) {
	t.Helper()
	volumes := &fakeVolumes{}
	return newBench(t, func(c *Config) { c.Volumes, c.UserVolumes = volumes, 10<<30 }), volumes
}

// blockOf is a new block vault of 4 GiB.
func blockOf(name string, change ...func(*VaultRequest)) VaultRequest {
	req := VaultRequest{Name: name, Kind: berth.VaultBlock, Volume: berth.Volume{Size: 4 << 30}}
	for _, f := range change {
		f(&req)
	}
	return req
}

const password = "correct horse"

func encrypted(req *VaultRequest) { req.Password = password }

func array(images int) func(*VaultRequest) {
	return func(req *VaultRequest) { req.Kind, req.Volume.Images = berth.VaultBlockArray, images }
}

func ofSize(size int64) func(*VaultRequest) {
	return func(req *VaultRequest) { req.Volume.Size = size }
}

func TestBlockVaults(t *testing.T) {
	b, volumes := newBlockBench(t)
	for name, test := range map[string]struct {
		caller berth.Caller
		req    VaultRequest
		spec   volume.Spec
	}{
		"plain":            {b.ada, blockOf("plain"), volume.Spec{Size: 4 << 30, Images: 1}},
		"encrypted":        {b.ada, blockOf("encrypted", encrypted), volume.Spec{Size: 4 << 30, Images: 1, Password: password}},
		"an array":         {b.admin, blockOf("array", array(3)), volume.Spec{Size: 4 << 30, Images: 3}},
		"one as it is":     {b.admin, blockOf("default", array(0)), volume.Spec{Size: 4 << 30, Images: 2}},
		"somebody's large": {b.admin, blockOf("large", ofSize(1<<40), func(r *VaultRequest) { r.Owner = "bob" }), volume.Spec{Size: 1 << 40, Images: 1}},
	} {
		v := b.addVault(t, test.caller, test.req)
		if made := volumes.made[len(volumes.made)-1]; made != test.spec {
			t.Errorf("%s: made %+v, want %+v", name, made, test.spec)
		}
		want := berth.Volume{Size: test.spec.Size, Images: test.spec.Images, Encrypted: test.spec.Password != ""}
		stored, err := b.store.Vault(t.Context(), v.Owner, v.Name)
		if diff := cmp.Diff(v, stored); diff != "" || err != nil || v.Volume != want || v.Path != volumes.there[len(volumes.there)-1] {
			t.Errorf("%s: %+v, %v\n%s", name, v, err, diff)
		}
		detail := fmt.Sprintf("kind=%s size=%d images=%d encrypted=%v", v.Kind, want.Size, want.Images, want.Encrypted)
		if record := b.lastRecord(t); record.Act.Detail != detail {
			t.Errorf("%s: the audit log says %q, want %q", name, record.Act.Detail, detail)
		}
	}
}

func TestBlockVaultsThatAreRefused(t *testing.T) {
	b, volumes := newBlockBench(t)
	b.addVault(t, b.ada, blockOf("first"))
	kept := len(volumes.there)
	word := func(password string) func(*VaultRequest) { return func(req *VaultRequest) { req.Password = password } }
	only := newBench(t) // users make none there
	for name, test := range map[string]struct {
		b      *bench
		caller berth.Caller
		req    VaultRequest
		kind   berth.Kind
		text   string
	}{
		"where only administrators make some": {
			only, only.ada, blockOf("v"), berth.Forbidden, "Only an administrator may make and remove a vault of this kind",
		},
		"by a key for reading": {b, b.reader, blockOf("v"), berth.Forbidden, "This key may only read"},
		"too small":            {b, b.ada, blockOf("v", ofSize(1)), berth.Invalid, "Invalid parameter(s): size: 1 is not within 16777216 to"},
		"too large for ada":    {b, b.ada, blockOf("v", ofSize(6<<30+1)), berth.LimitReached, "Too much for block vaults: 10.0 GiB in all are allowed, others have 4.0 GiB"},
		"too large for the disk": {
			b, b.admin, blockOf("v", ofSize(2<<40)), berth.NoSpace, "The server's disk is too small",
		},
		"many images in a block vault": {
			b, b.ada, blockOf("v", func(r *VaultRequest) { r.Volume.Images = 2 }), berth.Invalid,
			"Invalid parameter(s): images: 2 is not within 1 to 1, which a vault of kind block may have",
		},
		"an array of one":    {b, b.ada, blockOf("v", array(1)), berth.Invalid, "Invalid parameter(s): images: 1 is not within 2 to 64"},
		"a short password":   {b, b.ada, blockOf("v", word("geheim")), berth.Invalid, "Invalid parameter(s): password: it must have 8 to 256 printable characters"},
		"a password of keys": {b, b.ada, blockOf("v", word("geheimnis\n")), berth.Invalid, "Invalid parameter(s): password: it must have"},
		"a bucket":           {b, b.ada, blockOf("v", func(r *VaultRequest) { r.Bucket.Name = "bucket" }), berth.Invalid, "Invalid parameter(s): kind: only object vaults"},
		"an object vault with a password": {
			b, b.ada, bucketOf("v", encrypted), berth.Invalid, "Invalid parameter(s): kind: only block vaults have a size, images and a password",
		},
		"a name that is there": {b, b.ada, blockOf("first"), berth.Conflict, "There is a vault of that name: first"},
		"of nobody":            {b, b.admin, blockOf("v", func(r *VaultRequest) { r.Owner = "carol" }), berth.NotFound, "User not found"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := test.b.AddVault(t.Context(), test.caller, test.req)
			wantError(t, err, test.kind, test.text)
			if strings.Contains(err.Error(), "geheim") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
	if made := len(volumes.made); len(volumes.there) != kept || made != kept {
		t.Errorf("%d volumes were made, %d are there; want %d", made, len(volumes.there), kept)
	}
}

// TestAVolumeWithoutVault: what the store refuses at last leaves no volume; when nobody knows whether it was stored, the volume stays.
func TestAVolumeWithoutVault(t *testing.T) {
	b, volumes := newBlockBench(t)
	volumes.making = func() { // somebody else takes the name meanwhile
		v := berth.Vault{Owner: "ada", Name: "v", Kind: berth.VaultFile, Path: "/v"}
		if err := b.store.CreateVault(t.Context(), v, berth.Credentials{}, store.VaultLimits{}, berth.Act{By: "root"}); err != nil {
			t.Error(err)
		}
	}
	_, err := b.AddVault(t.Context(), b.ada, blockOf("v"))
	wantError(t, err, berth.Conflict, "There is a vault of that name")
	if len(volumes.made) != 1 || len(volumes.there) != 0 {
		t.Errorf("made %v, there are %v", volumes.made, volumes.there)
	}
	volumes.making = func() { _ = b.store.Close() }
	if _, err := b.AddVault(t.Context(), b.ada, blockOf("w")); err == nil || len(volumes.there) != 1 {
		t.Errorf("%v; there are %v", err, volumes.there)
	}
}

// TestAVaultThatNobodyWaitsFor: who has left when the volume was made finds the vault.
func TestAVaultThatNobodyWaitsFor(t *testing.T) {
	b, volumes := newBlockBench(t)
	gone, leave := context.WithCancel(t.Context())
	volumes.making = leave
	if _, err := b.AddVault(gone, b.ada, blockOf("v")); err != nil {
		t.Error(err)
	}
	if v, err := b.store.Vault(t.Context(), "ada", "v"); err != nil || v.Path != volumes.there[0] {
		t.Errorf("%+v, %v; there are %v", v, err, volumes.there)
	}
}

func TestRemovedBlockVaults(t *testing.T) {
	b, volumes := newBlockBench(t)
	b.addVault(t, b.ada, blockOf("v", encrypted))
	wantError(t, b.RemoveVault(t.Context(), b.ada, "v", false), berth.Conflict, "The vault may not be empty: remove it with its data")
	req := request()
	req.Submission.Vault.Name, req.VaultPassword = "v", password
	job, err := b.Batch(t.Context(), b.ada, req)
	if err != nil {
		t.Fatal(err)
	}
	wantError(t, b.RemoveVault(t.Context(), b.ada, "v", true), berth.Conflict, "A job uses the vault: job 1 has not ended")
	b.apply(t, job.Number, berth.EventRefused)
	volumes.busy = true
	wantError(t, b.RemoveVault(t.Context(), b.ada, "v", true), berth.Conflict, "The vault is in use: job 1 has it: try again when that has ended")
	if _, err := b.store.Vault(t.Context(), "ada", "v"); err != nil || len(volumes.there) != 1 {
		t.Errorf("%v after a refusal; there are %v", err, volumes.there)
	}
	volumes.busy = false
	if err := b.RemoveVault(t.Context(), b.ada, "v", true); err != nil || len(volumes.there) != 0 {
		t.Errorf("%v; there are %v", err, volumes.there)
	}
	_, err = b.Vault(t.Context(), b.ada, "v")
	wantError(t, err, berth.NotFound, "Vault not found")
	only := newBench(t)
	only.addVault(t, only.admin, blockOf("v", func(r *VaultRequest) { r.Owner = "ada" }))
	wantError(t, only.RemoveVault(t.Context(), only.ada, "v", true), berth.Forbidden, "Only an administrator may make and remove")
}

// TestPasswordsOfSubmissions: who needs one must send it, and nobody else may. It is stored sealed, and shown nowhere.
func TestPasswordsOfSubmissions(t *testing.T) {
	b, _ := newBlockBench(t)
	b.addVault(t, b.ada, blockOf("secret", encrypted, func(r *VaultRequest) { r.Share = ShareRead }))
	b.addVault(t, b.ada, blockOf("plain"))
	with := func(vault, password string) BatchRequest {
		req := request()
		req.Submission.Vault, req.VaultPassword = berth.VaultRequest{Name: vault, Force: true}, password
		return req
	}
	for _, test := range []struct{ vault, password, want string }{
		{"secret", "", "vault.password: the vault secret is encrypted: its password is required"},
		{"plain", password, "vault.password: nothing is allowed: plain is no encrypted vault"},
		{"ephemeral", password, "vault.password: nothing is allowed: ephemeral is no encrypted vault"},
		{"data", password, "vault.password: nothing is allowed: data is no encrypted vault"},
	} {
		_, err := b.Batch(t.Context(), b.ada, with(test.vault, test.password))
		wantError(t, err, berth.Invalid, "Missing or Malformed API Syntax: "+test.want)
		if err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("the error shows the password: %v", err)
		}
	}
	job, err := b.Batch(t.Context(), b.mia, with("secret@ada", password))
	if err != nil {
		t.Fatal(err)
	}
	want := berth.VaultRequest{Name: "secret@ada", Kind: berth.VaultBlock, ReadOnly: true, Force: true}
	if diff := cmp.Diff(want, job.Submission.Vault); diff != "" {
		t.Errorf("vault (-want +got):\n%s", diff)
	}
	if sealed, err := b.store.VaultPassword(t.Context(), job.Number); sealed != fakeSeal(password, "secret@ada") || err != nil {
		t.Errorf("stored %q, %v", sealed, err)
	}
	for _, vault := range []string{"plain", "data", "ephemeral"} {
		if _, err := b.Batch(t.Context(), b.ada, with(vault, "")); err != nil {
			t.Errorf("%s without password: %v", vault, err)
		}
	}
}

func TestTheFilesOfABlockVault(t *testing.T) {
	b, _ := newBlockBench(t)
	b.addVault(t, b.ada, blockOf("plain"))
	b.addVault(t, b.ada, blockOf("secret", encrypted))
	vaults, err := b.FileVaults(t.Context(), b.ada)
	if err != nil || len(vaults) != 2 || vaults[0].Name != "data" || vaults[1].Name != "plain" {
		t.Errorf("vaults with files: %+v, %v", vaults, err)
	}
}

// TestMakingVolumesIsWaitedFor: who waits while somebody makes a volume can give up.
func TestMakingVolumesIsWaitedFor(t *testing.T) {
	b, volumes := newBlockBench(t)
	gone, leave := context.WithCancel(t.Context())
	volumes.making = func() {
		volumes.making = nil
		leave()
		if _, err := b.AddVault(gone, b.bob, blockOf("v")); !errors.Is(err, context.Canceled) {
			t.Errorf("one that nobody waits for: %v", err)
		}
	}
	b.addVault(t, b.ada, blockOf("v"))
}

func TestVaultPasswordIsChanged(t *testing.T) {
	b, volumes := newBlockBench(t)
	v := b.addVault(t, b.ada, blockOf("v", encrypted))
	b.addVault(t, b.ada, blockOf("plain"))
	const changed = "battery staple"
	if err := b.ChangeVaultPassword(t.Context(), b.ada, "v", password, changed); err != nil || volumes.changed != v.Path+" "+changed {
		t.Errorf("%v, changed %q", err, volumes.changed)
	}
	want := "kind=block size=4294967296 images=1 encrypted=true password changed"
	if record := b.lastRecord(t); record.Act.Kind != berth.ActVaultChanged || record.Act.Detail != want {
		t.Errorf("the audit log has %+v", record.Act)
	}
	for name, test := range map[string]struct {
		caller              berth.Caller
		vault, old, changed string
		kind                berth.Kind
		text                string
	}{
		"a wrong one":    {b.ada, "v", "wrong horse", changed, berth.Invalid, "Invalid parameter(s): password: it is not that of the vault"},
		"none":           {b.ada, "v", "", changed, berth.Invalid, "Invalid parameter(s): password: it is not that of the vault"},
		"a short one":    {b.ada, "v", password, "short", berth.Invalid, "Invalid parameter(s): new_password: it must have 8 to 256 printable characters"},
		"not encrypted":  {b.ada, "plain", password, changed, berth.Conflict, "Only encrypted vaults have a password"},
		"of another":     {b.bob, "v@ada", password, changed, berth.NotFound, "Vault not found"},
		"only reads":     {b.reader, "v", password, changed, berth.Forbidden, "This key may only read"},
		"of no vault":    {b.ada, "none", password, changed, berth.NotFound, "Vault not found"},
		"a job's writes": {berth.Caller{User: b.ada.User, Job: 7}, "v", password, changed, berth.Forbidden, "A job's token may not do this"},
	} {
		err := b.ChangeVaultPassword(t.Context(), test.caller, test.vault, test.old, test.changed)
		t.Run(name, func(t *testing.T) { wantError(t, err, test.kind, test.text) })
	}
	volumes.busy = true
	wantError(t, b.ChangeVaultPassword(t.Context(), b.ada, "v", password, changed), berth.Conflict, "The vault is in use: job 1 has it")
	volumes.busy, volumes.fails = false, volume.ErrUnclean
	wantError(t, b.ChangeVaultPassword(t.Context(), b.ada, "v", password, changed), berth.Conflict, "The filesystem of the vault was not closed properly")
}

func TestVaultIsRepaired(t *testing.T) {
	b, volumes := newBlockBench(t)
	b.addVault(t, b.ada, blockOf("secret", encrypted))
	v := b.addVault(t, b.ada, blockOf("v"))
	if err := b.RepairVault(t.Context(), b.ada, "v"); err != nil || !slices.Equal(volumes.repaired, []string{v.Path}) {
		t.Errorf("%v, repaired %v", err, volumes.repaired)
	}
	wantError(t, b.RepairVault(t.Context(), b.ada, "secret"), berth.Unsupported, "An encrypted vault is repaired by a job")
	wantError(t, b.RepairVault(t.Context(), b.ada, "data"), berth.Conflict, "Only block vaults are repaired")
	wantError(t, b.RepairVault(t.Context(), b.reader, "v"), berth.Forbidden, "This key may only read")
	wantError(t, b.RepairVault(t.Context(), b.bob, "v@ada"), berth.NotFound, "Vault not found")
	volumes.busy = true
	wantError(t, b.RepairVault(t.Context(), b.ada, "v"), berth.Conflict, "The vault is in use: job 1 has it")
}

// TestVaultsAreMadeMeanwhile: a vault that is repaired may be waited for as long as its files are used, which is nobody else's matter.
func TestVaultsAreMadeMeanwhile(t *testing.T) {
	b, volumes := newBlockBench(t)
	b.addVault(t, b.ada, blockOf("v"))
	b.addVault(t, b.ada, blockOf("secret", encrypted))
	made := 0
	volumes.repairing = func() {
		made++
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if _, err := b.AddVault(ctx, b.bob, blockOf(fmt.Sprint("v", made))); err != nil {
			t.Error(err)
		}
	}
	err := errors.Join(b.RepairVault(t.Context(), b.ada, "v"), b.ChangeVaultPassword(t.Context(), b.ada, "secret", password, "battery staple"))
	if err != nil || made != 2 {
		t.Errorf("%d vaults made, %v", made, err)
	}
}

package control

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/store"
)

const (
	msgNoVault = "Vault not found"
	// maxVaults is how many somebody may have who is no administrator.
	maxVaults = 100
	// maxKey and maxCredential bound keys of objects, and the two parts of credentials, in bytes. minBucket and maxBucket bound the names
	// of buckets.
	maxKey               = 1024
	maxCredential        = 256
	minBucket, maxBucket = 3, 63
)

var errVaultsByAdmin = &berth.Error{
	Kind: berth.Forbidden, Msg: "Only an administrator may make and remove a vault of this kind on this server; object vaults are for everybody",
}

var errVaultToRead = &berth.Error{Kind: berth.Forbidden, Msg: "The vault is shared for reading only"}

// VaultDirs are the directories of file vaults. All methods are safe to repeat.
type VaultDirs interface {
	FilePath(user, name string) string
	// Empty says whether a vault has nothing on this server.
	Empty(v berth.Vault) (bool, error)
	// Remove deletes the directory of a vault, and with data what is in it; without, it fails when something is.
	Remove(v berth.Vault, data bool) error
}

// VaultRequest is a new vault.
type VaultRequest struct {
	// Owner is the user whose it is, empty for the caller.
	Owner, Name string
	Kind        berth.VaultKind
	// Bucket and Credentials are for object vaults.
	Bucket      berth.Bucket
	Credentials berth.Credentials
	// Volume is for block vaults: Size and Images. Those that get a password are encrypted.
	Volume   berth.Volume
	Password string
	Share    VaultShare
	Default  bool
}

// VaultChange is what changes of a vault; nil fields stay as they are.
type VaultChange struct {
	Share       *VaultShare
	Default     *bool
	Credentials *berth.Credentials
}

// VaultShare says what the team of a vault's owner may do with it.
type VaultShare string

// The ways of sharing.
const (
	ShareNone  VaultShare = "none"
	ShareRead  VaultShare = "read"
	ShareWrite VaultShare = "write"
)

// Vaults lists the vaults of the caller, and then those that the caller's team shares; for administrators, those of any user.
func (s *Service) Vaults(ctx context.Context, caller berth.Caller, owner string) ([]berth.Vault, error) {
	user := caller.User
	if owner != "" && owner != user.Name {
		if !caller.User.Admin {
			return nil, errAdminOnly
		}
		var err error
		if user, err = s.cfg.Store.User(ctx, owner); err != nil {
			return nil, named(err, msgNoUser)
		}
	}
	vaults, err := s.cfg.Store.Vaults(ctx, user.Name)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(vaults, func(v berth.Vault) bool { return v.Default }) {
		for i := range vaults {
			vaults[i].Default = vaults[i].Name == berth.EphemeralVault
		}
	}
	if user.Team == "" {
		return vaults, nil
	}
	shared, err := s.cfg.Store.TeamVaults(ctx, user.Team, user.Name)
	return append(vaults, shared...), err
}

// Vault returns a vault that the caller may use, and for administrators any. NotFound "Vault not found" for others.
func (s *Service) Vault(ctx context.Context, caller berth.Caller, called string) (berth.Vault, error) {
	owner, name := berth.SplitVaultName(called, caller.User.Name)
	v, err := s.cfg.Store.Vault(ctx, owner, name)
	if err == nil {
		if usable, _ := v.UsableBy(caller.User.Name, caller.User.Team); usable || caller.User.Admin {
			return v, nil
		}
		return berth.Vault{}, &berth.Error{Kind: berth.NotFound, Msg: msgNoVault}
	}
	return berth.Vault{}, named(err, msgNoVault)
}

// AddVault makes a vault: object vaults for oneself, block vaults too as far as Config.UserVolumes goes, and by administrators all kinds
// for everybody. Its credentials are not shown to anybody again, and its password is not kept. Conflict when the owner has a vault of
// that name; LimitReached when the caller has too many or too large ones; NoSpace when the server has no room for a block vault.
func (s *Service) AddVault(ctx context.Context, caller berth.Caller, req VaultRequest) (berth.Vault, error) {
	v := berth.Vault{Owner: req.Owner, Name: req.Name, Kind: req.Kind, Bucket: req.Bucket, Volume: req.Volume, Default: req.Default}
	if v.Owner == "" {
		v.Owner = caller.User.Name
	}
	if err := actsFor(caller, v.Owner); err != nil {
		return berth.Vault{}, err
	}
	if !plainName(v.Name, "._-") || v.Name[0] == '.' { // it is the name of a directory, too
		return berth.Vault{}, invalid("name", "%q is not 1 to %d of A-Z, a-z, 0-9, dots, underscores and hyphens, no dot first", v.Name, maxName)
	}
	if err := s.checkKind(caller, &v, req); err != nil {
		return berth.Vault{}, err
	}
	if err := s.share(ctx, caller, &v, req.Share); err != nil {
		return berth.Vault{}, err
	}
	if v.Kind.Block() {
		return s.addBlockVault(ctx, caller, v, req.Password)
	}
	if err := s.storeVault(ctx, caller, v, req.Credentials); err != nil {
		return berth.Vault{}, err
	}
	return v, nil
}

// checkKind refuses what a vault of its kind cannot be, and what is not the caller's to make. It completes the vault.
func (s *Service) checkKind(caller berth.Caller, v *berth.Vault, req VaultRequest) error {
	if !v.Kind.Block() && (req.Volume != berth.Volume{} || req.Password != "") {
		return invalid("kind", "only block vaults have a size, images and a password")
	}
	if v.Kind != berth.VaultObject && (req.Bucket != (berth.Bucket{}) || req.Credentials != (berth.Credentials{})) {
		return invalid("kind", "only object vaults have a bucket")
	}
	switch v.Kind {
	case berth.VaultObject:
		return s.checkBucket(caller, &v.Bucket, req.Credentials)
	case berth.VaultFile:
		if !caller.User.Admin {
			return errVaultsByAdmin
		}
		v.Path = s.cfg.VaultDirs.FilePath(v.Owner, v.Name)
		return nil
	case berth.VaultBlock, berth.VaultBlockArray:
		return s.checkVolume(caller, v, req)
	case berth.VaultEphemeral: // everybody has one
	}
	return invalid("kind", "%q is not one of %s, %s, %s, %s", v.Kind, berth.VaultFile, berth.VaultObject, berth.VaultBlock, berth.VaultBlockArray)
}

// storeVault stores a new vault.
func (s *Service) storeVault(ctx context.Context, caller berth.Caller, v berth.Vault, c berth.Credentials) error {
	act := s.act(caller, berth.ActVaultAdded, v.Name+"@"+v.Owner, vaultDetail(v))
	if err := s.cfg.Store.CreateVault(ctx, v, c, s.vaultLimits(caller), act); err != nil {
		return named(err, msgNoUser)
	}
	s.defaults.forget()
	return nil
}

// vaultLimits is what a caller may make vaults up to.
func (s *Service) vaultLimits(caller berth.Caller) store.VaultLimits {
	if caller.User.Admin {
		return store.VaultLimits{}
	}
	return store.VaultLimits{Vaults: maxVaults, Size: s.cfg.UserVolumes}
}

// ChangeVault changes a vault of the caller, or any for administrators. Jobs that were submitted to one that is not shared any more are
// refused when they are to start.
func (s *Service) ChangeVault(ctx context.Context, caller berth.Caller, called string, change VaultChange) (berth.Vault, error) {
	v, err := s.changeableVault(ctx, caller, called)
	if err != nil {
		return berth.Vault{}, err
	}
	if change.Share != nil {
		if err := s.share(ctx, caller, &v, *change.Share); err != nil {
			return berth.Vault{}, err
		}
	}
	if change.Default != nil {
		v.Default = *change.Default
	}
	if change.Credentials != nil {
		if v.Kind != berth.VaultObject {
			return berth.Vault{}, invalid("access_key", "only object vaults have credentials")
		}
		if err := checkCredentials(*change.Credentials); err != nil {
			return berth.Vault{}, err
		}
	}
	detail := vaultDetail(v)
	if change.Credentials != nil {
		detail += " credentials changed"
	}
	act := s.act(caller, berth.ActVaultChanged, v.Name+"@"+v.Owner, detail)
	if err := s.cfg.Store.ChangeVault(ctx, v, change.Credentials, act); err != nil {
		return berth.Vault{}, named(err, msgNoVault)
	}
	s.defaults.forget()
	return v, nil
}

// RemoveVault forgets a vault of the caller, or any for administrators; with data it deletes what the vault has on this server.
// Objects stay in their bucket. Conflict while a job uses it, and without data for one that has files, or is a block vault.
func (s *Service) RemoveVault(ctx context.Context, caller berth.Caller, called string, data bool) error {
	v, err := s.changeableVault(ctx, caller, called)
	if err != nil {
		return err
	}
	if v.Name == berth.EphemeralVault {
		return &berth.Error{Kind: berth.Conflict, Msg: "The vault ephemeral cannot be removed"}
	}
	if v.Kind.Block() {
		return s.removeBlockVault(ctx, caller, v, data)
	}
	if v.Kind != berth.VaultObject && !caller.User.Admin {
		return errVaultsByAdmin
	}
	if !data {
		empty, err := s.cfg.VaultDirs.Empty(v)
		if err != nil {
			return err
		}
		if !empty {
			return &berth.Error{Kind: berth.Conflict, Msg: "The vault is not empty", Detail: "remove it with its data (--with-data), or take that out first"}
		}
	}
	if err := s.forgetVault(ctx, caller, v); err != nil {
		return err
	}
	return s.cfg.VaultDirs.Remove(v, data)
}

// forgetVault removes a vault from the store.
func (s *Service) forgetVault(ctx context.Context, caller berth.Caller, v berth.Vault) error {
	act := s.act(caller, berth.ActVaultRemoved, v.Name+"@"+v.Owner, vaultDetail(v))
	if err := s.cfg.Store.RemoveVault(ctx, v.Owner, v.Name, act); err != nil {
		return named(err, msgNoVault)
	}
	s.defaults.forget()
	return nil
}

// changeableVault returns a vault that the caller may change.
func (s *Service) changeableVault(ctx context.Context, caller berth.Caller, called string) (berth.Vault, error) {
	v, err := s.Vault(ctx, caller, called)
	if err != nil {
		return berth.Vault{}, err
	}
	return v, actsFor(caller, v.Owner)
}

// share gives a vault to the team of its owner, or takes it back.
func (s *Service) share(ctx context.Context, caller berth.Caller, v *berth.Vault, share VaultShare) error {
	switch share {
	case "", ShareNone:
		v.Team, v.TeamReadOnly = "", false
		return nil
	case ShareRead, ShareWrite:
	default:
		return invalid("share", "%q is not one of %s, %s, %s", share, ShareNone, ShareRead, ShareWrite)
	}
	owner := caller.User
	if v.Owner != owner.Name {
		var err error
		if owner, err = s.cfg.Store.User(ctx, v.Owner); err != nil {
			return named(err, msgNoUser)
		}
	}
	switch {
	case v.Kind == berth.VaultEphemeral:
		return invalid("share", "the vault %s is another one for each job", v.Name)
	case owner.Team == "":
		return invalid("share", "%s is in no team to share it with", owner.Name)
	}
	v.Team, v.TeamReadOnly = owner.Team, share == ShareRead
	return nil
}

// checkBucket refuses what cannot be the place of an object vault, and says whether the endpoint is trusted.
func (s *Service) checkBucket(caller berth.Caller, b *berth.Bucket, c berth.Credentials) error {
	endpoint, err := url.Parse(b.Endpoint)
	if err != nil || endpoint.Scheme != "http" && endpoint.Scheme != "https" || endpoint.Host == "" || endpoint.User != nil ||
		strings.Trim(endpoint.Path, "/") != "" || endpoint.RawQuery != "" || endpoint.Fragment != "" {
		return invalid("endpoint", "%q is no address such as https://s3.example.org", b.Endpoint)
	}
	b.Endpoint = endpoint.Scheme + "://" + endpoint.Host
	b.Trusted = caller.User.Admin || slices.Contains(s.cfg.ObjectEndpoints, b.Endpoint)
	switch {
	case b.Name != "" && !bucketName(b.Name):
		return invalid("bucket", "%q is no name of a bucket", b.Name)
	case len(b.Prefix) > maxKey/2 || !utf8.ValidString(b.Prefix) || !printable(b.Prefix):
		return invalid("prefix", "it must have at most %d printable characters", maxKey/2)
	case b.Region != "" && !plainName(b.Region, "-_"):
		return invalid("region", "%q is no name of a region", b.Region)
	}
	return checkCredentials(c)
}

func bucketName(name string) bool {
	return len(name) >= minBucket && len(name) <= maxBucket && plainName(name, "._-")
}

// checkCredentials refuses what cannot be credentials, without showing it.
func checkCredentials(c berth.Credentials) error {
	for field, text := range map[string]string{"access_key": c.AccessKey, "secret_key": c.SecretKey} {
		if len(text) > maxCredential || !printable(text) {
			return invalid(field, "it must have at most %d printable characters", maxCredential)
		}
	}
	if (c.AccessKey == "") != (c.SecretKey == "") {
		return invalid("secret_key", "an access key and a secret key go together")
	}
	return nil
}

// vaultDetail says for the audit log what a vault is.
func vaultDetail(v berth.Vault) string {
	detail := "kind=" + string(v.Kind)
	if v.Kind == berth.VaultObject {
		detail += fmt.Sprintf(" endpoint=%s bucket=%s prefix=%s", v.Bucket.Endpoint, v.Bucket.Name, v.Bucket.Prefix)
	}
	if v.Kind.Block() {
		detail += fmt.Sprintf(" size=%d images=%d encrypted=%v", v.Volume.Size, v.Volume.Images, v.Volume.Encrypted)
	}
	if v.Team != "" {
		detail += fmt.Sprintf(" team=%s read-only=%v", v.Team, v.TeamReadOnly)
	}
	return detail
}

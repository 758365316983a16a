package httpapi

import (
	"encoding/json"
	"math"

	"github.com/berth-hpc/berth"
	"github.com/berth-hpc/berth/internal/control"
)

// vaultAnswer is a vault as our own API shows it, called as who asks calls it. It has no credentials.
type vaultAnswer struct {
	Name    string `json:"name"`
	Owner   string `json:"owner"`
	Kind    string `json:"kind"`
	Default bool   `json:"default"`
	Team    string `json:"team"`
	Share   string `json:"share"`
	// Those of object vaults.
	Endpoint  string `json:"endpoint,omitempty"`
	Bucket    string `json:"bucket,omitempty"`
	Prefix    string `json:"prefix,omitempty"`
	Region    string `json:"region,omitempty"`
	PathStyle bool   `json:"path_style,omitempty"`
	// Those of block vaults; Size is in bytes.
	Size      int64 `json:"size,omitempty"`
	Images    int   `json:"images,omitempty"`
	Encrypted bool  `json:"encrypted,omitempty"`
}

// oneVault is a vault that was made or changed.
type oneVault struct {
	Vault vaultAnswer `json:"vault"`
}

func newVaultAnswer(caller berth.Caller, v berth.Vault) vaultAnswer {
	share := control.ShareNone
	if v.Team != "" {
		share = control.ShareWrite
		if v.TeamReadOnly {
			share = control.ShareRead
		}
	}
	return vaultAnswer{
		Name: v.VaultName(caller.User.Name), Owner: v.Owner, Kind: string(v.Kind), Default: v.Default && v.Owner == caller.User.Name,
		Team: v.Team, Share: string(share), Endpoint: v.Bucket.Endpoint, Bucket: v.Bucket.Name, Prefix: v.Bucket.Prefix,
		Region: v.Bucket.Region, PathStyle: v.Bucket.PathStyle,
		Size: v.Volume.Size, Images: v.Volume.Images, Encrypted: v.Volume.Encrypted,
	}
}

// vaults lists the caller's vaults, and those of the team; with owner, those of that user.
func (s *server) vaults(c *call, caller berth.Caller, p params) error {
	vaults, err := s.control.Vaults(c.r.Context(), caller, p.text("owner"))
	if err != nil {
		return err
	}
	return c.writeJSON(struct {
		Vaults []vaultAnswer `json:"vaults"`
	}{each(vaults, func(v berth.Vault) vaultAnswer { return newVaultAnswer(caller, v) })})
}

func (s *server) vault(c *call, caller berth.Caller, _ params) error {
	v, err := s.control.Vault(c.r.Context(), caller, c.r.PathValue("name"))
	if err != nil {
		return err
	}
	return c.writeJSON(oneVault{newVaultAnswer(caller, v)})
}

func (s *server) addVault(c *call, caller berth.Caller, _ params) error {
	d, m, err := c.readMembers("owner", "name", "kind", "share", "default", "endpoint", "bucket", "prefix", "region", "path_style",
		"access_key", "secret_key", "size", "images", "password")
	if err != nil {
		return err
	}
	req := control.VaultRequest{
		Owner: d.word("owner", m["owner"]), Name: d.required("name", m["name"]), Kind: berth.VaultKind(d.required("kind", m["kind"])),
		Share: control.VaultShare(d.word("share", m["share"])), Default: d.flag("default", m["default"]),
		Bucket: berth.Bucket{
			Endpoint: d.line("endpoint", m["endpoint"], maxImage), Name: d.word("bucket", m["bucket"]),
			Prefix: d.line("prefix", m["prefix"], maxImage), Region: d.word("region", m["region"]), PathStyle: d.flag("path_style", m["path_style"]),
		},
		Volume: berth.Volume{
			Size:   int64(d.whole("size", m["size"], bounds{low: 1, high: berth.MaxVolume})),
			Images: d.whole("images", m["images"], bounds{low: 1, high: math.MaxInt32}),
		},
		Password: d.vaultPassword("password", m["password"]),
	}
	if credentials := d.vaultCredentials(m); credentials != nil {
		req.Credentials = *credentials
	}
	if err := d.err(); err != nil {
		return err
	}
	v, err := s.control.AddVault(c.r.Context(), caller, req)
	if err != nil {
		return err
	}
	return c.writeJSON(oneVault{newVaultAnswer(caller, v)})
}

// maxVaultPassword bounds the password of a vault in bytes.
const maxVaultPassword = 1024

// vaultPassword decodes the password of an encrypted vault, "" for an absent one.
func (d *decoder) vaultPassword(path string, raw json.RawMessage) string {
	return d.line(path, raw, maxVaultPassword)
}

// vaultCredentials returns nil when none were sent.
func (d *decoder) vaultCredentials(m members) *berth.Credentials {
	if kindOf(m["access_key"]) == kindNull && kindOf(m["secret_key"]) == kindNull {
		return nil
	}
	return &berth.Credentials{AccessKey: d.word("access_key", m["access_key"]), SecretKey: d.word("secret_key", m["secret_key"])}
}

func (s *server) changeVault(c *call, caller berth.Caller, _ params) error {
	d, m, err := c.readMembers("share", "default", "access_key", "secret_key")
	if err != nil {
		return err
	}
	change := control.VaultChange{Default: d.optionalFlag("default", m["default"]), Credentials: d.vaultCredentials(m)}
	if share := d.optionalWord("share", m["share"]); share != nil {
		change.Share = new(control.VaultShare(*share))
	}
	if len(m) == 0 {
		d.problem("body", "changes nothing, at least one member is required")
	}
	if err := d.err(); err != nil {
		return err
	}
	v, err := s.control.ChangeVault(c.r.Context(), caller, c.r.PathValue("name"), change)
	if err != nil {
		return err
	}
	return c.writeJSON(oneVault{newVaultAnswer(caller, v)})
}

// removeVault forgets a vault, and with the parameter data=true deletes what it has on this server.
func (s *server) removeVault(c *call, caller berth.Caller, p params) error {
	if err := s.control.RemoveVault(c.r.Context(), caller, c.r.PathValue("name"), p.flag("data")); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: "removed"})
}

// changeVaultPassword gives an encrypted vault another password.
func (s *server) changeVaultPassword(c *call, caller berth.Caller, _ params) error {
	d, m, err := c.readMembers("password", "new_password")
	if err != nil {
		return err
	}
	password, changed := d.vaultPassword("password", m["password"]), d.vaultPassword("new_password", m["new_password"])
	if err := d.err(); err != nil {
		return err
	}
	if err := s.control.ChangeVaultPassword(c.r.Context(), caller, c.r.PathValue("name"), password, changed); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: "changed"})
}

// repairVault makes the file system of a block vault valid that was not closed properly.
func (s *server) repairVault(c *call, caller berth.Caller, _ params) error {
	if err := s.control.RepairVault(c.r.Context(), caller, c.r.PathValue("name")); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: "repaired"})
}

// keptAnswer is data that could not be copied back.
type keptAnswer struct {
	Number int64  `json:"number"`
	Owner  string `json:"owner"`
	Wish   string `json:"wish"`
	Detail string `json:"detail"`
}

// keptData lists what could not be copied back, with all=true that of everybody's jobs.
func (s *server) keptData(c *call, caller berth.Caller, p params) error {
	kept, err := s.control.KeptData(c.r.Context(), caller, p.flag("all"))
	if err != nil {
		return err
	}
	return c.writeJSON(struct {
		Kept []keptAnswer `json:"kept"`
	}{each(kept, func(k berth.Kept) keptAnswer { return keptAnswer{k.Number, k.Owner, string(k.Wish), k.Detail} })})
}

func (s *server) saveKept(c *call, caller berth.Caller, _ params) error {
	return s.wishKept(c, caller, berth.KeptWishSave, "save requested")
}

func (s *server) dropKept(c *call, caller berth.Caller, _ params) error {
	return s.wishKept(c, caller, berth.KeptWishDrop, "drop requested")
}

func (s *server) wishKept(c *call, caller berth.Caller, wish berth.KeptWish, status string) error {
	number, err := c.jobNumber()
	if err != nil {
		return err
	}
	if err := s.control.WishKept(c.r.Context(), caller, number, wish); err != nil {
		return err
	}
	return c.writeJSON(statusAnswer{Status: status})
}

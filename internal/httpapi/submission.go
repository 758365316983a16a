package httpapi

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"unicode/utf8"

	"github.com/berth-hpc/berth"
)

// rawSubmission is a submission as it came. Every member is decoded by itself, so that a wrong one can be named. The names match
// in any case (clients write publicIP and publicip), and unknown members cost nothing.
type rawSubmission struct {
	App         json.RawMessage `json:"app"`
	Application json.RawMessage `json:"application"`
	Container   json.RawMessage `json:"container"`
	GenSSHKey   json.RawMessage `json:"gen_sshkey"`
	HPC         json.RawMessage `json:"hpc"`
	Identity    json.RawMessage `json:"identity"`
	Label       json.RawMessage `json:"job_label"`
	Licenses    json.RawMessage `json:"licenses"`
	Machine     json.RawMessage `json:"machine"`
	Priority    json.RawMessage `json:"job_priority"`
	Project     json.RawMessage `json:"job_project"`
	PublicIP    json.RawMessage `json:"publicIP"`
	Queue       json.RawMessage `json:"queue"`
	User        json.RawMessage `json:"user"`
	Vault       json.RawMessage `json:"vault"`
}

type rawContainer struct {
	Image       json.RawMessage `json:"image"`
	Interactive json.RawMessage `json:"interactive"`
	JobScript   json.RawMessage `json:"jobscript"`
	PullSecret  json.RawMessage `json:"pullsecret"`
}

type rawIdentity struct {
	GID      json.RawMessage `json:"gid"`
	Group    json.RawMessage `json:"group"`
	UID      json.RawMessage `json:"uid"`
	Username json.RawMessage `json:"username"`
}

type rawMachine struct {
	Nodes json.RawMessage `json:"nodes"`
	Type  json.RawMessage `json:"type"`
}

type rawUser struct {
	APIKey   json.RawMessage `json:"apikey"`
	Username json.RawMessage `json:"username"`
}

type rawVault struct {
	Bucket   json.RawMessage `json:"bucket"`
	Domain   json.RawMessage `json:"domain"`
	Force    json.RawMessage `json:"force"`
	Name     json.RawMessage `json:"name"`
	Objects  json.RawMessage `json:"objects"`
	Password json.RawMessage `json:"password"`
	ReadOnly json.RawMessage `json:"readonly"`
}

// submission is a decoded one. What runsApplication says, and hasContainer, tell which kind it is.
type submission struct {
	berth.Submission
	pullSecret    string
	vaultPassword string
	credentials   credentials
	hasContainer  bool
	genSSHKey     bool
}

// runsApplication says whether it is for an application, or for the image of one, and not for a bare container.
func (s *submission) runsApplication() bool { return s.App != "" || s.HPC != nil }

// asApplication forgets the container that came along, asBatch what batch jobs have not.
func (s *submission) asApplication() { s.Container, s.pullSecret = berth.Container{}, "" }

func (s *submission) asBatch() { s.App, s.Command, s.Parameters = "", "", nil }

// decodeSubmission reads a submission. The error names every member that is wrong, what was sent and what is allowed.
func decodeSubmission(body []byte) (submission, error) {
	d := &decoder{msg: submissionTexts.unreadable}
	sub := submission{}
	body = bytes.TrimSpace(body)
	var raw rawSubmission
	switch {
	case len(body) == 0:
		d.problem("body", "is empty, a JSON object is allowed")
	case !utf8.Valid(body):
		d.problem("body", "is not valid UTF-8")
	case body[0] != '{':
		d.problem("body", "is not a JSON object")
	default:
		if err := json.Unmarshal(body, &raw); err != nil {
			d.problem("body", notJSON(err))
			break
		}
		d.submission(&raw, &sub)
	}
	return sub, d.err()
}

// hash tells two submissions apart. Two bodies that mean the same have the same. The password of a vault is not part of it: the hash is
// stored, and people choose passwords that can be guessed.
func (s *submission) hash() (string, error) {
	normal, err := json.Marshal(struct {
		Submission berth.Submission
		PullSecret string
		GenSSHKey  bool `json:",omitempty"`
	}{s.Submission, s.pullSecret, s.genSSHKey})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(normal)
	return hex.EncodeToString(sum[:]), nil
}

func (d *decoder) submission(raw *rawSubmission, sub *submission) {
	d.user(raw.User, sub)
	sub.App = d.word("app", raw.App)
	sub.Label = d.word("job_label", raw.Label)
	sub.Project = d.word("job_project", raw.Project)
	sub.Priority = d.wordOrNumber("job_priority", raw.Priority)
	sub.Queue = d.word("queue", raw.Queue)
	sub.Licenses = d.word("licenses", raw.Licenses)
	sub.genSSHKey = d.flag("gen_sshkey", raw.GenSSHKey)
	d.hpc(raw.HPC, sub)
	d.application(raw.Application, sub)
	d.container(raw.Container, sub)
	d.machine(raw.Machine, sub)
	d.vault(raw.Vault, sub)
	d.identity(raw.Identity, sub)
	sub.PublicIP = d.flag("publicIP", raw.PublicIP) || sub.IPAddr != ""
}

func (d *decoder) user(raw json.RawMessage, sub *submission) {
	var user rawUser
	if d.object("user", raw, &user) {
		sub.credentials.username = d.word("user.username", user.Username)
		sub.credentials.apikey = d.word("user.apikey", user.APIKey)
	}
}

func (d *decoder) container(raw json.RawMessage, sub *submission) {
	var container rawContainer
	if !d.object("container", raw, &container) {
		return
	}
	sub.hasContainer = true
	sub.Container.Image = d.image("container.image", container.Image)
	sub.Container.JobScript = d.anyText("container.jobscript", container.JobScript)
	sub.Container.Interactive = d.flag("container.interactive", container.Interactive)
	sub.pullSecret = d.anyText("container.pullsecret", container.PullSecret)
}

// machine decodes the machine type and the number of nodes. Scripts of queues need not name a machine type: their resources or their
// queue do.
func (d *decoder) machine(raw json.RawMessage, sub *submission) {
	nodes := bounds{fallback: 1, low: 1, high: berth.MaxNodes} // the machine type may say less
	sub.Machine.Nodes = nodes.fallback
	var machine rawMachine
	if !d.object("machine", raw, &machine) {
		if kindOf(raw) == kindNull && sub.HPC == nil {
			d.sent("machine", raw, "an object with type and nodes is required")
		}
		return
	}
	sub.Machine.Type = d.word("machine.type", machine.Type)
	if sub.HPC == nil && (kindOf(machine.Type) == kindNull || string(machine.Type) == `""`) {
		d.sent("machine.type", machine.Type, "the name of a machine type is required")
	}
	sub.Machine.Nodes = d.whole("machine.nodes", machine.Nodes, nodes)
}

func (d *decoder) vault(raw json.RawMessage, sub *submission) {
	var vault rawVault
	if !d.object("vault", raw, &vault) {
		return
	}
	sub.Vault = berth.VaultRequest{
		Name: d.word("vault.name", vault.Name), ReadOnly: d.flag("vault.readonly", vault.ReadOnly), Force: d.flag("vault.force", vault.Force),
		Objects: d.keys("vault.objects", vault.Objects), Bucket: d.word("vault.bucket", vault.Bucket),
	}
	sub.vaultPassword = d.vaultPassword("vault.password", vault.Password)
	if d.word("vault.domain", vault.Domain) != "" {
		d.sent("vault.domain", vault.Domain, "nothing is allowed: this server has no domains of vaults")
	}
}

// largestID is the largest user or group number that every system knows; the kernel's largest means "none".
const largestID = 1<<31 - 1

func (d *decoder) identity(raw json.RawMessage, sub *submission) {
	var identity rawIdentity
	if !d.object("identity", raw, &identity) {
		return
	}
	def := berth.DefaultIdentity
	sub.Identity = &berth.Identity{
		Username: d.accountName("identity.username", identity.Username, def.Username),
		Group:    d.accountName("identity.group", identity.Group, def.Group),
		UID:      d.whole("identity.uid", identity.UID, bounds{fallback: def.UID, low: 1, high: largestID}),
		GID:      d.whole("identity.gid", identity.GID, bounds{fallback: def.GID, low: 1, high: largestID}),
	}
}

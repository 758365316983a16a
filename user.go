package berth

import "time"

// User is an account. Its API keys are kept by the store as hashes and are never part of it.
type User struct {
	// Name is what clients send as username: [A-Za-z0-9.], because job names and URLs of real clients carry it unescaped.
	Name string
	// Email is for people; may be empty.
	Email string
	// Admin may see and control every job and manage images, machine types, users and teams.
	Admin bool
	// Disabled users are refused like unknown ones.
	Disabled bool
	// Billing says that the account may submit jobs.
	Billing bool
	// Team is the team that the user is in, empty for none. TeamAdmin may see and control every job of the team.
	Team      string
	TeamAdmin bool
	// Payer is who pays for the team, empty without a team. PayerStopped says that the payer's billing is switched off or that the
	// payer is disabled: nobody of the team may submit jobs then.
	Payer        string
	PayerStopped bool
}

// UserChange is what changes of a user; nil fields stay as they are.
type UserChange struct {
	Email           *string
	Admin, Disabled *bool
	Billing         *bool
	// Team is the new team, empty for none. Who goes is no administrator of the new one unless TeamAdmin says so.
	Team      *string
	TeamAdmin *bool
}

// Apply returns the user after the change. Payer and PayerStopped follow from the team, and stay as they are.
func (c UserChange) Apply(u User) User {
	if c.Team != nil && *c.Team != u.Team {
		u.Team, u.TeamAdmin = *c.Team, false
	}
	if c.Email != nil {
		u.Email = *c.Email
	}
	for _, flag := range []struct{ from, to *bool }{
		{c.Admin, &u.Admin}, {c.Disabled, &u.Disabled}, {c.Billing, &u.Billing}, {c.TeamAdmin, &u.TeamAdmin},
	} {
		if flag.from != nil {
			*flag.to = *flag.from
		}
	}
	return u
}

// MaySubmit says whether the account and, when there is one, the payer of its team may be charged for jobs.
func (u User) MaySubmit() bool { return u.Billing && !u.PayerStopped }

// Leads says whether the user may see and control every job of the own team.
func (u User) Leads() bool { return u.Team != "" && (u.TeamAdmin || u.Payer == u.Name) }

// Team is a group of users with one of them who pays for their jobs.
type Team struct {
	// Name is [A-Za-z0-9._-], unique.
	Name string
	// Payer is a user of the team.
	Payer string
}

// Key is what is known of an API key besides the key itself, which nobody knows but its holder.
type Key struct {
	// ID names the key in listings and in the audit log, [a-z0-9]+, unique. It tells nothing about the key.
	ID   string
	User string
	// Label is for people; may be empty.
	Label string
	// ReadOnly keys may look and change nothing.
	ReadOnly bool
	Created  time.Time
	// Expires is from when on the key is refused; zero is never.
	Expires time.Time
	// Job is the job whose token this is, 0 for a person's key. It is gone with the end of the job.
	Job int64
}

// Expired says whether the key is refused at this time.
func (k Key) Expired(now time.Time) bool { return !k.Expires.IsZero() && !now.Before(k.Expires) }

// SSHKey is a public key with which a user gets into the own jobs by ssh.
type SSHKey struct {
	User string
	// Fingerprint is as OpenSSH shows it, such as SHA256:uNiVztksCsDhcc0u9e8BrqXVdDu4uwB4mEHSI1rPsxI, unique among those of a user.
	Fingerprint string
	// Line is the key as it stands in authorized_keys, without a comment.
	Line string
	// Comment is for people; may be empty.
	Comment string
	Added   time.Time
}

// Caller is who asks. It is an argument of every use case and never travels in a context.
type Caller struct {
	User User
	// ReadOnly, KeyID and Expires are those of the key; the zero time is never.
	ReadOnly bool
	KeyID    string
	Expires  time.Time
	// Job is the job whose token the key is, 0 for a person's key. A token does what a job needs: it submits, watches and ends jobs
	// of its user, and manages nothing.
	Job int64
	// From is the network address that the request came from, for the audit log; may be empty.
	From string
}

// MaySee says whether the caller may see a job: its owner, the payer and the administrators of its team, and administrators.
func (c Caller) MaySee(job Job) bool {
	return c.User.Admin || c.User.Name != "" && c.User.Name == job.Owner || c.User.Team == job.Team && c.User.Leads()
}

// MayControl says whether the caller may act on a job: whoever may see it, unless the key is for reading only.
func (c Caller) MayControl(job Job) bool { return !c.ReadOnly && c.MaySee(job) }

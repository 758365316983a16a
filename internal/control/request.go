package control

import (
	"time"

	"github.com/berth-hpc/berth"
)

// Signaled says which process of a job got which signal; PID is its number inside the job.
type Signaled struct {
	Signal, PID int
}

// JobInfo is what a running job says about itself.
type JobInfo struct {
	// Address is the IP address of its first node, empty when it has none.
	Address string
	// URL is where its users connect, Help a page for them in HTML; nil when there is none, and for a key that may only read: they hold
	// what gives access to the job.
	URL, Help *string
	// Actions are what Action may start: descriptions by name.
	Actions map[string]string
}

// Connection is how people get into a running interactive job.
type Connection struct {
	// Address is the IP address of its first node, empty when it has none. Password is the job's, empty for a batch job.
	Address, Password string
}

// ApplicationsFilter selects applications. The zero value selects all that the caller may see.
type ApplicationsFilter struct {
	// Name is an ID; empty and "all" are every application.
	Name string
	// Version is that of the AppDef's format; 0 is any.
	Version int
}

// ApplicationRequest is a new application of the caller.
type ApplicationRequest struct {
	ID, Image string
	// PullSecret is for the registry, like that of a batch submission. It is not kept.
	PullSecret string
	// AppDef is JSON; nil takes the file of the image, which is pulled for it.
	AppDef            []byte
	Team              string
	Public, Certified bool
	Price             float64
}

// ApplicationChange is what changes of an application; nil fields stay as they are.
type ApplicationChange struct {
	Image *string
	// PullSecret is for the registry of a new image. It is not kept.
	PullSecret        string
	AppDef            []byte
	Team              *string
	Public, Certified *bool
	Price             *float64
}

// JobMetrics is what the nodes of a running job use, in the order of the nodes.
type JobMetrics struct {
	Nodes []NodeMetrics
}

// NodeMetrics is what one node uses.
type NodeMetrics struct {
	// CPU is the percentage of the allocated cores, 0 to 100, over the time between the last two samples.
	CPU int
	// MemoryUsed and MemoryTotal are in bytes.
	MemoryUsed, MemoryTotal int64
	// Sampled is when.
	Sampled time.Time
}

// Explanation is what happened to a job, and why it waits.
type Explanation struct {
	Job berth.Job
	// Records are in the order in which they were stored, the submission first. Of a long history the first hundred and the last
	// nine hundred are there, and LeftOut are missing between them.
	Records []berth.Record
	LeftOut int64
	// Forecast is set for a queued job.
	Forecast *berth.Forecast
}

// EventsFilter selects what an event stream tells of.
type EventsFilter struct {
	// Number selects one job that the caller may see; 0 is all jobs of the caller.
	Number int64
	// Everyone selects, without Number, every job that the caller may see and not only own ones.
	Everyone bool
	// After begins behind the record with this ID; negative begins now.
	After int64
}

// UserRequest is a new account.
type UserRequest struct {
	Name, Email string
	Admin       bool
	// NoBilling makes an account that may not submit jobs.
	NoBilling bool
	Team      string
	TeamAdmin bool
	// Key is the first API key.
	Key KeyRequest
}

// KeyRequest is a new API key.
type KeyRequest struct {
	Label    string
	ReadOnly bool
	// Expires is when it ends; zero is never.
	Expires time.Time
}

// NewAPIKey is a key that was just made: the only time that its secret is there to be seen.
type NewAPIKey struct {
	berth.Key
	// Secret is what clients send as apikey.
	Secret string
}

// AuditFilter selects acts. The zero value selects all that the caller may see.
type AuditFilter struct {
	By      string
	Subject string
	Number  int64
	Since   time.Time
	// Before continues a listing at smaller IDs; 0 begins at the newest.
	Before int64
	// Limit is at most 1000; 0 is 100.
	Limit int
}

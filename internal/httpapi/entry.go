package httpapi

import (
	"cmp"
	"encoding/json"
	"strings"
	"time"

	"github.com/berth-hpc/berth"
)

// statusEntry is a job as /jarvice/status shows it. Real clients decode strictly: what is an int here must stay one.
type statusEntry struct {
	Name          string  `json:"job_name"`
	Status        string  `json:"job_status"`
	Substatus     int     `json:"job_substatus"`
	SubstatusText string  `json:"job_substatus_text"`
	SubmitTime    int64   `json:"job_submit_time"`
	StartTime     int64   `json:"job_start_time"`
	EndTime       int64   `json:"job_end_time"`
	Application   string  `json:"job_application"`
	Command       string  `json:"job_command"`
	Walltime      *string `json:"job_walltime"` // null until the end
	Project       string  `json:"job_project"`
	ExitCode      *int    `json:"job_exitcode"` // null until the end
}

// jobEntry is a job as /jarvice/jobs lists it: what /jarvice/status has, and everything else that clients index.
type jobEntry struct {
	statusEntry
	Walltime *string `json:"job_walltime,omitempty"` // one client fails on null: absent until the end

	Number           int64          `json:"job_number"`
	Label            string         `json:"job_label"`
	Owner            string         `json:"job_owner_username"`
	Payer            string         `json:"job_payer"`
	Address          string         `json:"job_address"`
	After            string         `json:"job_after"`
	MachineName      string         `json:"job_mc_name"`
	MachineScale     int            `json:"job_mc_scale"`
	MachineDiscount  int            `json:"job_mc_discount"`
	Nodes            string         `json:"job_nodes"`
	Price            float64        `json:"job_price"`
	AppPrice         float64        `json:"job_app_price"`
	AppDiscount      int            `json:"job_app_discount"`
	Billed           bool           `json:"job_billed"`
	BillingCode      int            `json:"job_billing_code"`
	SchedulerID      int            `json:"job_sched_id"`
	SchedulerJob     string         `json:"job_sched_job_id"`
	DashboardVisible int            `json:"job_dashboard_visible"`
	Submission       wireSubmission `json:"job_api_submission"`
	Stats            jobStats       `json:"job_stats"`
}

// jobStats are seconds, and costs: those of all nodes for compute_time, and those of the application for it.
type jobStats struct {
	QueueTime   int64   `json:"queue_time"`
	ComputeTime int64   `json:"compute_time"`
	WallTime    int64   `json:"wall_time"`
	JobCount    int     `json:"job_count"`
	AppCost     float64 `json:"app_cost"`
	ComputeCost float64 `json:"compute_cost"`
}

// wireSubmission is a submission shown again: in the kinds that clients decode, and without secrets.
type wireSubmission struct {
	User        wireUser         `json:"user"`
	App         string           `json:"app,omitempty"`
	Application *wireApplication `json:"application,omitempty"`
	HPC         *wireHPC         `json:"hpc,omitempty"`
	Container   *wireContainer   `json:"container,omitempty"` // of batch jobs
	Machine     wireMachine      `json:"machine"`
	Vault       wireVault        `json:"vault"`
	Identity    *wireIdentity    `json:"identity,omitempty"`
	Label       string           `json:"job_label"`
	Project     string           `json:"job_project"`
	Priority    string           `json:"job_priority,omitempty"`
	Queue       string           `json:"queue"` // required by the clients of queues
	Licenses    string           `json:"licenses,omitempty"`
	PublicIP    bool             `json:"publicIP,omitempty"`
}

type wireUser struct {
	Username string `json:"username"`
}

type wireApplication struct {
	Command    string                     `json:"command,omitempty"`
	Geometry   string                     `json:"geometry,omitempty"`
	IPAddr     string                     `json:"ipaddr,omitempty"`
	Walltime   string                     `json:"walltime,omitempty"`
	Parameters map[string]json.RawMessage `json:"parameters,omitempty"`
}

// wireHPC has texts and one whole number: clients decode it as such.
type wireHPC struct {
	EnvConfig string            `json:"hpc_job_env_config"`
	Envs      map[string]string `json:"hpc_envs"`
	Queue     string            `json:"hpc_queue"`
	Resources map[string]string `json:"hpc_resources"`
	Script    string            `json:"hpc_job_script"`
	Shell     string            `json:"hpc_job_shell"`
	Umask     int               `json:"hpc_umask"`
}

type wireContainer struct {
	Image       string `json:"image"`
	JobScript   string `json:"jobscript"`
	Interactive bool   `json:"interactive"`
}

type wireMachine struct {
	Type  string `json:"type"`
	Nodes int    `json:"nodes"`
}

type wireVault struct {
	Name     string `json:"name"`
	ReadOnly bool   `json:"readonly"`
	Force    bool   `json:"force"`
	// Those of object vaults.
	Objects []string `json:"objects,omitempty"`
	Bucket  string   `json:"bucket,omitempty"`
}

type wireIdentity struct {
	Username string `json:"username"`
	Group    string `json:"group"`
	UID      int    `json:"uid"`
	GID      int    `json:"gid"`
}

func newStatusEntry(job berth.Job) statusEntry {
	sub := substatusOf(job)
	entry := statusEntry{
		Name:          job.Name,
		Status:        statusWord(job),
		Substatus:     sub.number,
		SubstatusText: sub.text,
		SubmitTime:    unix(job.Submitted),
		StartTime:     unix(job.Started),
		EndTime:       unix(job.Ended),
		Application:   job.Application,
		Command:       job.Command,
		Project:       job.Submission.Project,
	}
	if job.State.Final() {
		entry.Walltime, entry.ExitCode = new(clock(job.Walltime())), new(job.End.ExitCode)
	}
	return entry
}

func newJobEntry(job berth.Job, now time.Time) jobEntry {
	status := newStatusEntry(job)
	return jobEntry{
		statusEntry:      status,
		Walltime:         status.Walltime,
		Number:           job.Number,
		Label:            job.Label(),
		Owner:            job.Owner,
		Payer:            cmp.Or(job.Payer, job.Owner),
		Price:            job.Price,
		AppPrice:         job.Submission.AppPrice,
		MachineName:      job.Submission.Machine.Type,
		MachineScale:     job.Submission.Machine.Nodes,
		Nodes:            strings.Join(job.Hosts, ","),
		SchedulerJob:     job.Attempt,
		DashboardVisible: 1,
		Submission:       newWireSubmission(job),
		Stats:            newJobStats(job, now),
	}
}

// newJobStats reckons up to the end of the job, or to now.
func newJobStats(job berth.Job, now time.Time) jobStats {
	end := now
	if !job.Ended.IsZero() {
		end = job.Ended
	}
	stats := jobStats{JobCount: 1}
	if job.Started.IsZero() {
		stats.QueueTime = seconds(end.Sub(job.Submitted))
		return stats
	}
	stats.QueueTime = seconds(job.Started.Sub(job.Submitted))
	stats.ComputeTime = seconds(end.Sub(job.Started))
	stats.WallTime = stats.ComputeTime
	hours := float64(stats.ComputeTime) / time.Hour.Seconds()
	stats.ComputeCost, stats.AppCost = hours*float64(job.Nodes())*job.Price, hours*job.Submission.AppPrice
	return stats
}

func seconds(d time.Duration) int64 { return int64(max(0, d) / time.Second) }

func newWireSubmission(job berth.Job) wireSubmission {
	sub := job.Submission
	wire := wireSubmission{
		User:        wireUser{job.Owner},
		App:         sub.App,
		Application: newWireApplication(sub),
		HPC:         newWireHPC(sub.HPC),
		Machine:     wireMachine{sub.Machine.Type, max(1, sub.Machine.Nodes)},
		Vault:       newWireVault(sub.Vault),
		Label:       sub.Label,
		Project:     sub.Project,
		Priority:    sub.Priority,
		Queue:       sub.Queue,
		Licenses:    sub.Licenses,
		PublicIP:    sub.PublicIP,
	}
	if sub.App == "" && sub.HPC == nil {
		wire.Container = &wireContainer{sub.Container.Image, sub.Container.JobScript, sub.Container.Interactive}
	}
	if id := sub.Identity; id != nil {
		wire.Identity = &wireIdentity{id.Username, id.Group, id.UID, id.GID}
	}
	return wire
}

func newWireVault(v berth.VaultRequest) wireVault {
	return wireVault{v.Name, v.ReadOnly, v.Force, v.Objects, v.Bucket}
}

// newWireApplication returns nil when there is nothing to show.
func newWireApplication(sub berth.Submission) *wireApplication {
	if sub.Command == "" && sub.Geometry == "" && sub.IPAddr == "" && sub.Walltime == 0 && len(sub.Parameters) == 0 {
		return nil
	}
	wire := &wireApplication{Command: sub.Command, Geometry: sub.Geometry, IPAddr: sub.IPAddr, Parameters: sub.Parameters}
	if sub.Walltime != 0 {
		wire.Walltime = clock(sub.Walltime)
	}
	return wire
}

// newWireHPC returns nil when there is nothing to show.
func newWireHPC(hpc *berth.HPC) *wireHPC {
	if hpc == nil {
		return nil
	}
	wire := &wireHPC{
		EnvConfig: hpc.EnvConfig, Envs: hpc.Envs, Queue: hpc.Queue, Resources: hpc.Resources,
		Script: hpc.Script, Shell: hpc.Shell, Umask: hpc.Umask,
	}
	if wire.Envs == nil {
		wire.Envs = map[string]string{} // null is no object to typed clients
	}
	if wire.Resources == nil {
		wire.Resources = map[string]string{}
	}
	return wire
}

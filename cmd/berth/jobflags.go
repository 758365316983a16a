package main

import (
	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

// jobFlags are what a person says about any job that is submitted by flags.
type jobFlags struct {
	machine, vault, walltime, label, project string
	nodes                                    int
	objects                                  []string
	bucket                                   string
	readOnly, force, password, dryRun        bool
	then                                     afterwards

	// sshKey asks for a key of the job's own.
	sshKey bool
}

func (f *jobFlags) register(a *app, cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.machine, "machine", "n0", "machine type, see berth machines")
	flags.IntVar(&f.nodes, "nodes", 1, "number of nodes")
	flags.StringVar(&f.vault, "vault", "", "vault that the job finds at /data (default your default vault)")
	flags.BoolVar(&f.readOnly, "vault-readonly", false, "the job may not write to the vault")
	flags.BoolVar(&f.force, "vault-force", false, "check and repair the filesystem of a block vault that was not closed properly")
	flags.BoolVar(&f.password, "vault-password-stdin", false, "read the password of an encrypted vault from stdin, or ask for it at a terminal")
	flags.StringArrayVar(&f.objects, "object", nil, "bring this object, or all whose keys begin so, from the object vault; may be repeated")
	flags.StringVar(&f.bucket, "bucket", "", "bucket of an object vault that has none itself")
	flags.StringVar(&f.walltime, "walltime", "", "end the job after this time, HH:MM:SS")
	flags.StringVar(&f.label, "label", "", "label of the job")
	flags.StringVar(&f.project, "project", "", "project of the job")
	flags.BoolVar(&f.sshKey, "gen-sshkey", false, "make a key for ssh that only the job has (~/.ssh/id_ed25519 in it), and print its public part for authorized_keys")
	flags.BoolVar(&f.dryRun, "dry-run", false, "only let the server check the submission")
	f.then.register(cmd)
	// Without the server there is nothing to complete; an error here would be a name that is not registered above.
	_ = cmd.RegisterFlagCompletionFunc("machine", a.completeMachines())
	_ = cmd.RegisterFlagCompletionFunc("vault", a.completeVaults())
}

// check finds combinations that cannot be meant.
func (f *jobFlags) check(a *app) error {
	switch {
	case f.nodes < 1:
		return usagef("--nodes %d: a job has at least one node", f.nodes)
	case f.readOnly && f.vault == "":
		return usagef("--vault-readonly needs --vault")
	case (f.force || f.password) && f.vault == "":
		return usagef("--vault-force and --vault-password-stdin need --vault")
	case (len(f.objects) > 0 || f.bucket != "") && f.vault == "":
		return usagef("--object and --bucket need --vault")
	case f.dryRun && (f.then.follow || f.then.wait):
		return usagef("--dry-run makes no job to wait for")
	}
	return f.then.check(a)
}

// submission is what the flags say, without what the job runs.
func (f *jobFlags) submission(a *app) (client.Submission, error) {
	submission := client.Submission{
		Machine: &client.MachineRequest{Type: f.machine, Nodes: f.nodes},
		Label:   f.label,
		Project: f.project,

		GenSSHKey: f.sshKey,
	}
	if f.vault != "" {
		submission.Vault = &client.VaultRequest{Name: f.vault, ReadOnly: f.readOnly, Force: f.force, Objects: f.objects, Bucket: f.bucket}
	}
	if f.password {
		password, err := a.readPassword(f.vault, false)
		if err != nil {
			return client.Submission{}, err
		}
		submission.Vault.Password = password
	}
	if f.walltime != "" || f.dryRun {
		submission.Application = &client.Application{Walltime: f.walltime, NoSubmit: f.dryRun}
	}
	return submission, nil
}

package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/berth-hpc/berth/client"
)

// auditPageSize is how many records are asked for at once, as many as the server gives.
const auditPageSize = 1000

// auditFlags select acts.
type auditFlags struct {
	by, job, subject, since string
	limit                   int
}

func (a *app) auditCommand() *cobra.Command {
	var f auditFlags
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Show who did what to jobs, accounts, machine types and images, newest first",
		Long:  `audit shows acts, newest first. Administrators see all of them, others those that are about them. With --json each record is one line.`,
		Example: `  berth admin audit --since 24h
  berth admin audit --by ada --limit 20
  berth admin audit --subject bob
  berth admin audit --job 12 --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.limit < 0 {
				return usagef("--limit cannot be negative")
			}
			if _, err := a.parseSince(f.since); err != nil {
				return err
			}
			return cobra.NoArgs(cmd, args)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.by, "by", "", "only what this user did")
	flags.StringVar(&f.job, "job", "", "only what was done to this JOB")
	flags.StringVar(&f.subject, "subject", "", "only what was done to this user, team, machine type or image")
	flags.StringVar(&f.since, "since", "", "only what is not older than this: a time such as 24h, or a date such as 2026-11-24")
	flags.IntVar(&f.limit, "limit", 100, "how many records, 0 is all")
	_ = cmd.RegisterFlagCompletionFunc("by", a.completeUsers())
	_ = cmd.RegisterFlagCompletionFunc("job", a.completeJobs(true))
	cmd.RunE = a.withClient(func(ctx context.Context, c *client.Client, _ []string) (err error) {
		filter := client.AuditFilter{By: f.by, Subject: f.subject}
		if filter.Since, err = a.parseSince(f.since); err != nil {
			return err
		}
		if f.job != "" {
			if filter.Number, err = resolveText(ctx, c, f.job); err != nil {
				return err
			}
		}
		records, err := auditRecords(ctx, c, filter, f.limit)
		if err != nil {
			return err
		}
		return a.printAudit(records)
	})
	return cmd
}

// parseSince reads how far back to look: a duration before now, a date, or a time. Nothing is no limit.
func (a *app) parseSince(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if back, err := time.ParseDuration(text); err == nil && back >= 0 {
		return a.now().Add(-back), nil
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly} {
		if t, err := time.ParseInLocation(layout, text, a.location); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usagef("--since %q is neither a duration such as 24h nor a date such as 2026-11-24", text)
}

// resolveText returns the number of a job that a person named.
func resolveText(ctx context.Context, c *client.Client, text string) (int64, error) {
	ref, err := client.ParseRef(text)
	if err != nil {
		return 0, usagef("%s", err)
	}
	number, err := c.Resolve(ctx, ref)
	return number, aboutJob(ref, err)
}

// auditRecords reads page after page until there are enough, all with limit 0.
func auditRecords(ctx context.Context, c *client.Client, filter client.AuditFilter, limit int) ([]client.AuditRecord, error) {
	var records []client.AuditRecord
	for {
		filter.Limit = auditPageSize
		if limit > 0 {
			filter.Limit = min(auditPageSize, limit-len(records))
		}
		page, err := c.Audit(ctx, filter)
		if err != nil {
			return nil, err
		}
		records = append(records, page.Records...)
		if page.Next == 0 || len(page.Records) == 0 || limit > 0 && len(records) >= limit {
			return records, nil
		}
		filter.Before = page.Next
	}
}

func (a *app) printAudit(records []client.AuditRecord) error {
	rows := [][]string{{"TIME", "BY", "FROM", "ACT", "ON", "DETAIL"}}
	for _, record := range records {
		if a.flags.json {
			if err := a.printLine(record.Raw); err != nil {
				return err
			}
			continue
		}
		on, detail := record.Subject, record.Detail
		if record.Number != 0 {
			on = "job " + strconv.FormatInt(record.Number, 10)
		}
		if record.Signal != 0 {
			detail = strings.TrimSpace(signalTitle(record.Signal) + " " + detail)
		}
		rows = append(rows, []string{a.moment(record.At), record.By, record.From, record.Act, on, detail})
	}
	if a.flags.json {
		return nil
	}
	return table(a.stdout, rows)
}

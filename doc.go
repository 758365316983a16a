// Package berth is the domain of the berth server: jobs and their states, submissions, machine types, users, vaults and
// errors. It is pure: no I/O, no clock, nothing but the standard library, so that every other package may import it.
//
// The words that clients see (JARVICE job statuses, field names, error statuses) are not here; package internal/httpapi
// translates at the edge.
package berth

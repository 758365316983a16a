package control

import (
	"context"
	"time"

	"github.com/berth-hpc/berth"
)

var (
	errReadOnly      = &berth.Error{Kind: berth.Forbidden, Msg: "This key may only read"}
	errAdminOnly     = &berth.Error{Kind: berth.Forbidden, Msg: "Only an administrator may do this"}
	errImagesByAdmin = &berth.Error{Kind: berth.Forbidden, Msg: "Only an administrator may change images"}
	errNotByToken    = &berth.Error{Kind: berth.Forbidden, Msg: "A job's token may not do this"}
	// errRevoked ends what goes on for long, see Service.watch. Who is still let in may begin again.
	errRevoked = &berth.Error{Kind: berth.Unavailable, Msg: "The account was changed or the key has ended; connect again"}
)

// administers returns nil when the caller may change what belongs to nobody.
func administers(caller berth.Caller) error { return acts(caller, errAdminOnly) }

// acts returns nil for an administrator with a key that may do more than read, else why not.
func acts(caller berth.Caller, refusal *berth.Error) error {
	switch {
	case caller.Job != 0:
		return errNotByToken
	case !caller.User.Admin:
		return refusal
	case caller.ReadOnly:
		return errReadOnly
	}
	return nil
}

// actsFor returns nil when the caller may change the keys and variables of a user: oneself, and administrators.
func actsFor(caller berth.Caller, user string) error {
	switch {
	case caller.Job != 0:
		return errNotByToken
	case !caller.User.Admin && caller.User.Name != user:
		return errAdminOnly
	case caller.ReadOnly:
		return errReadOnly
	}
	return nil
}

// mayEnter says whether the key of a caller is one to get into a job with, or to have a command run there: the token of a job is for
// its own.
func mayEnter(caller berth.Caller, job berth.Job) bool {
	return caller.Job == 0 || caller.Job == job.Number
}

// leads says whether the caller may see every job of the own team. An administrator may, like every other job.
func leads(caller berth.Caller) bool {
	return caller.User.Leads() || caller.User.Admin && caller.User.Team != ""
}

// watch begins to wait for the topics on behalf of a caller, until the caller's rights change or its key ends: then the watch is
// revoked. errRevoked when they have changed by now. Call stop when done.
func (s *Service) watch(ctx context.Context, caller berth.Caller, topics ...topic) (w *watch, stop func(), err error) {
	topics = append(topics, topic{rights: caller.User.Name})
	if caller.Job != 0 {
		topics = append(topics, topic{token: caller.Job})
	}
	w, unwatch := s.cfg.Changes.watch(topics...)
	// Read after watch: a change since the caller was let in is seen here or wakes the watch.
	if err := s.stillMay(ctx, caller); err != nil {
		unwatch()
		return nil, nil, err
	}
	if caller.Expires.IsZero() {
		return w, unwatch, nil
	}
	ends := time.AfterFunc(caller.Expires.Sub(s.cfg.Now()), func() { s.cfg.Changes.end(w) })
	return w, func() {
		ends.Stop()
		unwatch()
	}, nil
}

// UntilLoggedOut returns when a caller that was let in would not be let in as the same any more, since its key has ended, its user is
// disabled or has other rights, and with ctx. Changes of the user's other keys end nothing.
func (s *Service) UntilLoggedOut(ctx context.Context, caller berth.Caller) {
	for ctx.Err() == nil {
		w, stop, err := s.watch(ctx, caller) // looks at the key
		if err != nil {
			return // also when it is not known whether the caller may: as if it may not
		}
		select {
		case <-w.woken:
		case <-ctx.Done():
		}
		stop()
	}
}

// stillMay returns nil when the caller's key is still there and its user may see what the caller may.
func (s *Service) stillMay(ctx context.Context, caller berth.Caller) error {
	user, key, err := s.cfg.Store.UserByKeyID(ctx, caller.KeyID)
	h, before := holder{user, key}, caller.User
	now := h.caller(caller.From)
	switch {
	case berth.KindOf(err) == berth.NotFound:
		return errRevoked
	case err != nil:
		return err
	case !h.may(before.Name, s.cfg.Now()), now.User.Admin != before.Admin, now.User.Team != before.Team, leads(now) != leads(caller):
		return errRevoked
	}
	return nil
}

// shown leaves out of records what is not the caller's to know: the network addresses of others.
func shown(caller berth.Caller, records []berth.Record) []berth.Record {
	if caller.User.Admin {
		return records
	}
	for i := range records {
		if r := &records[i]; r.Event.By != caller.User.Name {
			r.Event.From, r.Act.From = "", ""
		}
	}
	return records
}

// act is what a caller does that concerns no job.
func (s *Service) act(caller berth.Caller, kind berth.ActKind, subject, detail string) berth.Act {
	return berth.Act{
		Kind: kind, At: s.cfg.Now(), By: caller.User.Name, From: caller.From, Subject: subject, Detail: detail,
	}
}

// byToken is a user as the token of one of the user's jobs acts for: for the jobs of the user and of nobody else.
func byToken(user berth.User) berth.User {
	user.Admin, user.TeamAdmin = false, false
	if user.Payer == user.Name {
		user.Payer = "" // who pays is the user all the same
	}
	return user
}

// Package volume is a stand-in until the real one is merged.
package volume

import (
	"errors"
)

type Spec struct {
	Size     int64
	Images   int
	Password string
}

type Request struct {
	Path, Attempt              string
	ReadOnly, Force, Encrypted bool
	Password                   string
}

var ErrNoRoom, ErrPassword, ErrUnclean = errors.New("no room"), errors.New("wrong password"), errors.New("unclean")

type Busy struct {
	Attempts []string
	Writer   bool
}

func (b *Busy) Error() string { return "busy" }

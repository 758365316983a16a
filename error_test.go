package berth_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/berth-hpc/berth"
)

func TestErrorTexts(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err              *berth.Error
		public, complete string
	}{
		"message":           {berth.Errorf(berth.NotFound, "job %d not found", 7), "job 7 not found", "job 7 not found"},
		"detail":            {&berth.Error{Msg: "Bad Request", Detail: "number: 1x"}, "Bad Request: number: 1x", "Bad Request: number: 1x"},
		"the cause is kept": {&berth.Error{Msg: "Not found", Err: io.EOF}, "Not found", "Not found: EOF"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := test.err.Public(); got != test.public {
				t.Errorf("Public() = %q; want %q", got, test.public)
			}
			if got := test.err.Error(); got != test.complete {
				t.Errorf("Error() = %q; want %q", got, test.complete)
			}
		})
	}
}

func TestErrorUnwraps(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("list jobs: %w", &berth.Error{Kind: berth.Unavailable, Msg: "try again", Err: io.ErrUnexpectedEOF})
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("errors.Is does not see the cause of %v", err)
	}
}

func TestKindOf(t *testing.T) {
	t.Parallel()
	conflict := berth.Errorf(berth.Conflict, "taken")
	tests := map[string]struct {
		err  error
		want berth.Kind
	}{
		"no error":        {nil, ""},
		"foreign error":   {io.EOF, berth.Internal},
		"own error":       {conflict, berth.Conflict},
		"wrapped":         {fmt.Errorf("submit: %w", conflict), berth.Conflict},
		"outermost first": {&berth.Error{Kind: berth.Unavailable, Err: conflict}, berth.Unavailable},
		"state error":     {&berth.StateError{}, berth.Internal},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := berth.KindOf(test.err); got != test.want {
				t.Errorf("KindOf(%v) = %q; want %q", test.err, got, test.want)
			}
		})
	}
}

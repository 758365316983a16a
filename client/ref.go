package client

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// Ref names a job by its number or by its name. Make one with Number, Name or ParseRef.
type Ref struct {
	number int64
	name   string
}

// Number names a job by its number.
func Number(number int64) Ref { return Ref{number: number} }

// Name names a job by its name, such as 20230906104200-995TB-jarvice-batch-me_s1.
func Name(name string) Ref { return Ref{name: name} }

// ParseRef reads what a person typed: a number or a name.
func ParseRef(text string) (Ref, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Ref{}, errors.New("no job is named")
	}
	if strings.Trim(text, "0123456789") != "" {
		return Name(text), nil
	}
	number, err := strconv.ParseInt(text, 10, 64)
	if err != nil || number == 0 {
		return Ref{}, fmt.Errorf("%q is no job number", text)
	}
	return Number(number), nil
}

// String returns the number or the name.
func (r Ref) String() string {
	if r.name != "" {
		return r.name
	}
	return strconv.FormatInt(r.number, 10)
}

// values returns the parameters of the JARVICE endpoints.
func (r Ref) values() url.Values {
	if r.name != "" {
		return url.Values{"name": {r.name}}
	}
	return url.Values{"number": {strconv.FormatInt(r.number, 10)}}
}

// Resolve returns the number of a job. It asks the server only for a name.
func (c *Client) Resolve(ctx context.Context, ref Ref) (int64, error) {
	if ref.name == "" {
		return ref.number, nil
	}
	entry, err := c.Status(ctx, ref)
	return entry.Number, err
}

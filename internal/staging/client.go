package staging

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/berth-hpc/berth"
)

// client is a connection to the bucket of one transfer.
type client struct {
	core      minio.Core
	transport *http.Transport
	bucket    string
}

func (c *client) close() { c.transport.CloseIdleConnections() }

// connect makes the client of a transfer. It talks to nobody yet.
func (s *Stager) connect(t Transfer) (*client, error) {
	endpoint, err := url.Parse(t.Bucket.Endpoint)
	if err != nil {
		return nil, refusef(err, "the endpoint of the vault is no address")
	}
	const parts = 4 // of one object
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	transport := &http.Transport{
		DialContext: dialer.DialContext, MaxIdleConnsPerHost: parts * s.cfg.Parallel, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: s.cfg.Stall, DisableCompression: true,
	}
	if t.Bucket.Trusted {
		transport.Proxy = http.ProxyFromEnvironment
	} else {
		dialer.ControlContext = onlyPublic
	}
	lookup := minio.BucketLookupAuto
	if t.Bucket.PathStyle {
		lookup = minio.BucketLookupPath
	}
	core, err := minio.NewCore(endpoint.Host, &minio.Options{
		Creds: credentialsOf(t.Credentials), Secure: endpoint.Scheme == "https", Transport: transport, Region: t.Bucket.Region,
		BucketLookup: lookup, MaxRetries: 1,
	})
	if err != nil {
		return nil, refusef(err, "the endpoint of the vault cannot be used")
	}
	return &client{core: *core, transport: transport, bucket: t.Bucket.Name}, nil
}

func credentialsOf(c berth.Credentials) *credentials.Credentials {
	signer := credentials.SignatureV4
	if c.AccessKey == "" {
		signer = credentials.SignatureAnonymous
	}
	return credentials.NewStatic(c.AccessKey, c.SecretKey, "", signer)
}

// errPrivate keeps users from reaching through the server what they cannot reach themselves.
var errPrivate = errors.New("the endpoint is on a private network: an administrator must vouch for it")

// shared are addresses of providers' own networks, which netip does not call private.
var shared = netip.MustParsePrefix("100.64.0.0/10")

// onlyPublic refuses a connection to an address that is not on the internet. It is asked after names have become addresses.
func onlyPublic(_ context.Context, _, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("address of the endpoint: %w", err)
	}
	if addr := to.Addr().Unmap(); !addr.IsGlobalUnicast() || addr.IsPrivate() || shared.Contains(addr) {
		return errPrivate
	}
	return nil
}

// explain returns a sentence of few words for an error, for people.
func explain(err error) string {
	var answer minio.ErrorResponse
	switch {
	case errors.Is(err, errPrivate):
		return errPrivate.Error()
	case errors.As(err, &answer) && answer.Code != "":
		return fmt.Sprintf("the store answers %s (%d)", answer.Code, answer.StatusCode)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "the disk of this server is full"
	case isLocal(err):
		return err.Error()
	default:
		return "the store does not answer"
	}
}

// isLocal says whether an error is one of a file of this machine.
func isLocal(err error) bool {
	_, ok := errors.AsType[*fs.PathError](err)
	return ok
}

// definite says whether trying again cannot help.
func definite(err error) bool {
	var answer minio.ErrorResponse
	switch {
	case errors.Is(err, errPrivate):
		return true
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return false
	case isLocal(err):
		return true
	case !errors.As(err, &answer):
		return false
	}
	switch answer.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return answer.StatusCode >= 400 && answer.StatusCode < 500
}

// notThere says whether a store says that an object or a bucket is not there.
func notThere(err error) bool {
	var answer minio.ErrorResponse
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}

package agent

import (
	"crypto/des"  //nolint:gosec // the protocol's own
	"crypto/sha1" //nolint:gosec // the format's own
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
)

// writeConnection leaves what those programs need that people connect to: desktops and web servers. Batch jobs have none of it.
// What is secret is the user's alone.
func (s *setup) writeConnection() error {
	var failed error
	secret := func(name string, content []byte) {
		if len(content) > 0 {
			failed = errors.Join(failed, s.root.write("/etc/JARVICE/"+name, s.owned(content, 0o600)))
		}
	}
	secret("random128.txt", []byte(s.spec.Random))
	secret("cert.pem", s.spec.Certificate)
	if s.spec.Password != "" {
		obscured, err := vncPassword(s.spec.Password)
		failed = errors.Join(failed, err)
		secret("vncpasswd", obscured)
		secret("vncpasswd-RealVNC", []byte(hex.EncodeToString(obscured)))
		secret("htpasswd", []byte(webPassword(s.spec.Password)))
		failed = errors.Join(failed, s.root.write("/etc/JARVICE/nimbix_desktop", s.owned(nil, 0o644))) // the desktop's own notes
	}
	if s.spec.Geometry != "" {
		failed = errors.Join(failed, s.write("/etc/JARVICE/vglinfo.sh", ":\nVNC_GEOMETRY="+word(s.spec.Geometry)+"\n"))
	}
	return failed
}

// vncPassword returns a password as the files of VNC servers hold it: encrypted with a key that everybody knows. Only its first
// eight characters count.
func vncPassword(password string) ([]byte, error) {
	key := []byte{23, 82, 107, 6, 35, 78, 88, 7}
	for i := range key { // VNC counts the bits of a key from the other end
		key[i] = bits.Reverse8(key[i])
	}
	block, err := des.NewCipher(key) //nolint:gosec // it hides nothing, and does not need to
	if err != nil {
		return nil, fmt.Errorf("VNC password: %w", err)
	}
	obscured := make([]byte, des.BlockSize)
	copy(obscured, password)
	block.Encrypt(obscured, obscured)
	return obscured, nil
}

// webPassword returns a password file for web servers; the user is always nimbix, whoever the job runs as. Apache and nginx know this form on every system, and it costs nothing at
// the start of a job. That it has no salt and is quick to try does not matter for a password that is random and the job's only.
func webPassword(password string) string {
	sum := sha1.Sum([]byte(password)) //nolint:gosec // see above
	return "nimbix:{SHA}" + base64.StdEncoding.EncodeToString(sum[:]) + "\n"
}

package agent

import (
	"bytes"
	"crypto/sha512"
	"fmt"
	"hash"
	"strings"
)

// shadowFile is where programs of the image look up passwords.
const shadowFile = "/etc/shadow"

// writeShadow gives the user of a job that people connect to the password of the job. The file is the user's, because nothing in a job
// has more rights than the user. So nobody else's password stays in it.
func (s *setup) writeShadow() error {
	if s.spec.Password == "" {
		return nil
	}
	text := s.existing(shadowFile, "")
	name := s.spec.User.Name
	var lines strings.Builder
	for line := range strings.Lines(text) {
		if account := field(line, 0); account != name && strings.Contains(line, ":") {
			lines.WriteString(account + ":*:::::::\n")
		}
	}
	lines.WriteString(name + ":" + sha512Crypt(s.spec.Password, s.spec.Job) + ":::::::\n")
	return s.root.write(shadowFile, s.owned([]byte(lines.String()), 0o600))
}

// cryptRounds is the fewest that systems take: it costs time at the start of a job, and a random password needs no more.
const cryptRounds = 1000

// sha512Crypt hashes a password in the form that crypt(3) of every system knows, https://www.akkadia.org/drepper/SHA-crypt.txt.
// The number of the job is the salt.
func sha512Crypt(password string, job int64) string {
	salt, key := fmt.Appendf(nil, "%016d", job), []byte(password)
	sum := func(parts ...[]byte) []byte {
		h := sha512.New()
		write(h, parts...)
		return h.Sum(nil)
	}
	alternate := sum(key, salt, key)
	first := sha512.New()
	write(first, key, salt, repeated(alternate, len(key)))
	for n := len(key); n > 0; n >>= 1 {
		if n&1 != 0 {
			write(first, alternate)
		} else {
			write(first, key)
		}
	}
	digest := first.Sum(nil)
	keys := repeated(sum(bytes.Repeat(key, len(key))), len(key))
	salts := repeated(sum(bytes.Repeat(salt, 16+int(digest[0]))), len(salt))
	for round := range cryptRounds {
		h := sha512.New()
		either := func(odd bool, yes, no []byte) {
			if odd {
				no = yes
			}
			write(h, no)
		}
		odd := round%2 != 0
		either(odd, keys, digest)
		if round%3 != 0 {
			write(h, salts)
		}
		if round%7 != 0 {
			write(h, keys)
		}
		either(odd, digest, keys)
		digest = h.Sum(nil)
	}
	return fmt.Sprintf("$6$rounds=%d$%s$%s", cryptRounds, salt, cryptText(digest))
}

// write never fails for a hash.
func write(h hash.Hash, parts ...[]byte) {
	for _, part := range parts {
		_, _ = h.Write(part)
	}
}

// repeated is as much of a text, again and again, as makes n bytes.
func repeated(text []byte, n int) []byte {
	return bytes.Repeat(text, n/len(text)+1)[:n]
}

// cryptText writes a digest as crypt(3) does: three bytes at a time from three parts of it, in an order that turns, six bits a character.
func cryptText(digest []byte) string {
	const alphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	const third = 21
	var text strings.Builder
	put := func(bits uint32, characters int) {
		for range characters {
			text.WriteByte(alphabet[bits&0x3f])
			bits >>= 6
		}
	}
	for i := range third {
		places := [3]int{i, i + third, i + 2*third}
		a, b, c := places[i%3], places[(i+1)%3], places[(i+2)%3]
		put(uint32(digest[a])<<16|uint32(digest[b])<<8|uint32(digest[c]), 4)
	}
	put(uint32(digest[3*third]), 2)
	return text.String()
}

package staging

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"strings"
	"unicode/utf8"
)

const (
	// maxName is the longest name of a file, in bytes.
	maxName = 255
	// maxKey is the longest key of an object, in bytes.
	maxKey = 1024
	// aside marks the file of an object whose key is also a folder of other keys.
	aside = "%"
)

// filePath returns the path of the file for a key: below the folder of the job, whatever the key is. For most keys it is the key.
func filePath(key string) string {
	names := strings.Split(key, "/")
	for i, name := range names {
		names[i] = fileName(name)
	}
	return path.Join(names...)
}

// fileName returns a name that a file can have for a part of a key. What cannot be a name has a percent sign and the bytes as
// hexadecimal digits, as in an address.
func fileName(name string) string {
	switch name {
	case "":
		return "%2F" // what lies between two slashes
	case ".", "..":
		return strings.ReplaceAll(name, ".", "%2E")
	}
	name = strings.ReplaceAll(name, "\x00", "%00")
	if len(name) <= maxName {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	const head, digest = 200, 16
	return strings.ToValidUTF8(name[:head], "") + "%" + hex.EncodeToString(sum[:digest])
}

// layOut gives every object its path, and leaves out those that were asked for twice. It refuses two objects that would be one file;
// that needs keys that were made for it.
func layOut(objects []*object, prefix string) ([]*object, error) {
	folders := make(map[string]bool)
	for _, o := range objects {
		key := strings.TrimPrefix(o.Key, prefix)
		if o.folder() {
			o.Path = filePath(strings.TrimSuffix(key, "/"))
			folders[o.Path] = true
		} else {
			o.Path = filePath(key)
		}
		for dir := path.Dir(o.Path); dir != "." && !folders[dir]; dir = path.Dir(dir) {
			folders[dir] = true
		}
	}
	taken := make(map[string]string, len(objects))
	laid := objects[:0]
	for _, o := range objects {
		if folders[o.Path] && !o.folder() {
			o.Path += aside
		}
		other, twice := taken[o.Path]
		if twice && other != o.Key {
			return nil, refusef(nil, "the objects %q and %q would be one file", other, o.Key)
		}
		if !twice {
			taken[o.Path] = o.Key
			laid = append(laid, o)
		}
	}
	return laid, nil
}

// newKey returns the key for a file that no object was brought for, and why it cannot be one.
func newKey(prefix, file string) (key, problem string) {
	key = prefix + file
	switch {
	case !utf8.ValidString(key):
		return "", "its name is not valid UTF-8"
	case len(key) > maxKey:
		return "", "its name is longer than 1,024 bytes"
	}
	return key, ""
}

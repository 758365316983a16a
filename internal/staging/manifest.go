package staging

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
	"syscall"
)

// stamp tells two states of a file apart. A program can set the times of a file back, but not that of its last change.
type stamp struct {
	Size         int64
	Inode        uint64
	MTime, CTime int64
}

func stampOf(info fs.FileInfo) stamp {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return stamp{}
	}
	return stamp{Size: info.Size(), Inode: stat.Ino, MTime: stat.Mtim.Nano(), CTime: stat.Ctim.Nano()}
}

// object is one object of the plan, and what became of it.
type object struct {
	Key  string
	Path string
	Size int64
	ETag string

	// had is the file as it was brought, zero before; sum is the checksum of its content.
	had stamp
	sum uint64
}

// folder says whether the object only says that there is a folder.
func (o *object) folder() bool { return o.Size == 0 && strings.HasSuffix(o.Key, "/") }

// line is one line of a manifest. Exactly one of its members is set.
type line struct {
	// Object is one to bring, and Planned follows the last of them.
	Object  *object `json:",omitempty"`
	Planned bool    `json:",omitempty"`
	// Had says that a file was brought, Complete that all were, in the boot of the machine with the id Boot.
	Had      *hadLine `json:",omitempty"`
	Complete bool     `json:",omitempty"`
	Boot     string   `json:",omitempty"`
	// Sending says that a file begins to be copied back, Sent that it was, as it was then.
	Sending string    `json:",omitempty"`
	Sent    *sentLine `json:",omitempty"`
}

type hadLine struct {
	Path  string
	ETag  string
	Stamp stamp
	Sum   uint64
}

type sentLine struct {
	Path  string
	Stamp stamp
}

// manifest is what is known of a transfer, in memory and in its file. Its methods are safe for concurrent use once it is planned.
type manifest struct {
	path              string
	planned, complete bool
	boot              string // see line
	objects           []*object
	byPath            map[string]*object

	mu      sync.Mutex
	file    *os.File
	sending map[string]bool
	sent    map[string]stamp
}

// openManifest reads what is there. A manifest whose plan is not whole is begun anew: nothing was brought before.
func openManifest(path string) (*manifest, error) {
	m := &manifest{path: path, byPath: make(map[string]*object), sending: make(map[string]bool), sent: make(map[string]stamp)}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	whole := bytes.LastIndexByte(text, '\n') + 1 // the last line may be torn
	for number, one := range bytes.Split(text[:whole], []byte("\n")) {
		if len(one) == 0 {
			continue
		}
		var l line
		if err := json.Unmarshal(one, &l); err != nil {
			return nil, fmt.Errorf("manifest, line %d: %w", number+1, err)
		}
		m.learn(l)
	}
	if !m.planned {
		m.objects, whole = nil, 0
		clear(m.byPath)
	}
	m.file, err = os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		err = m.file.Truncate(int64(whole))
	}
	if err == nil {
		_, err = m.file.Seek(int64(whole), 0)
	}
	if err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	return m, nil
}

// learn takes one line into memory.
func (m *manifest) learn(l line) {
	switch {
	case l.Object != nil:
		m.objects = append(m.objects, l.Object)
		m.byPath[l.Object.Path] = l.Object
	case l.Planned:
		m.planned = true
	case l.Had != nil:
		if o := m.byPath[l.Had.Path]; o != nil {
			o.had, o.sum, o.ETag, o.Size = l.Had.Stamp, l.Had.Sum, l.Had.ETag, l.Had.Stamp.Size
		}
	case l.Complete:
		m.complete, m.boot = true, l.Boot
	case l.Sending != "":
		m.sending[l.Sending] = true
	case l.Sent != nil:
		m.sent[l.Sent.Path] = l.Sent.Stamp
	}
}

// plan stores all objects that are to be brought.
func (m *manifest) plan(objects []*object) error {
	var text bytes.Buffer
	encode := json.NewEncoder(&text)
	for _, o := range objects {
		if err := encode.Encode(line{Object: o}); err != nil {
			return fmt.Errorf("manifest: %w", err)
		}
		m.learn(line{Object: o})
	}
	if err := encode.Encode(line{Planned: true}); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	m.planned = true
	if _, err := m.file.Write(text.Bytes()); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	return m.sync()
}

func (m *manifest) add(l line) error {
	text, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.append(append(text, '\n')); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	m.learn(l)
	return nil
}

// append writes a line, or nothing of it: on a full disk a part would make one with the line that comes next, which nobody could read.
func (m *manifest) append(text []byte) error {
	end, err := m.file.Seek(0, io.SeekCurrent)
	if err != nil {
		return err
	}
	if _, err = m.file.Write(text); err == nil {
		return nil
	}
	_, errSeek := m.file.Seek(end, io.SeekStart)
	return errors.Join(err, m.file.Truncate(end), errSeek)
}

// finish stores that everything was brought.
func (m *manifest) finish() error {
	return errors.Join(m.add(line{Complete: true, Boot: bootID()}), m.sync())
}

// rebooted says whether the machine has ended since everything was brought, if that is known. No file is synced, so it may have lost some.
func (m *manifest) rebooted() bool { return m.boot != "" && m.boot != bootID() }

// bootID tells one boot of this machine from another; it is empty when the kernel does not say.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(id))
}

func (m *manifest) sync() error {
	if err := m.file.Sync(); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	return nil
}

// began says whether a file has begun to be copied back, and ended whether it was, as it is now.
func (m *manifest) began(path string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sending[path]
}

func (m *manifest) ended(path string, now stamp) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sent[path] == now
}

func (m *manifest) close() error { return m.file.Close() }

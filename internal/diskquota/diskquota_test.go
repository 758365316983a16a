package diskquota_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/berth-hpc/berth/internal/diskquota"
	"github.com/berth-hpc/berth/internal/diskquota/quotatest"
)

const (
	limit = 1 << 20
	job   = 7
)

// TestOff: a filesystem in memory has no project quotas.
func TestOff(t *testing.T) {
	dir := "/dev/shm"
	if err := diskquota.Check(dir); !errors.Is(err, diskquota.ErrOff) {
		t.Errorf("Check: %v; want %v", err, diskquota.ErrOff)
	}
	if err := diskquota.Release(dir, job); err != nil {
		t.Errorf("Release: %v", err)
	}
	if err := diskquota.Check(filepath.Join(dir, "not-there")); !errors.Is(err, os.ErrNotExist) || errors.Is(err, diskquota.ErrOff) {
		t.Errorf("Check of what is not there: %v; want %v", err, os.ErrNotExist)
	}
}

func TestLimit(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) { testLimit(t, quotatest.Disk(t, kind)) })
	}
}

func testLimit(t *testing.T, root string) {
	if err := diskquota.Check(root); err != nil {
		t.Fatal(err)
	}
	first, second, other := filepath.Join(root, "first"), filepath.Join(root, "second"), filepath.Join(root, "other")
	for dir, number := range map[string]int64{first: job, second: job, other: job + 1} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := diskquota.Limit(dir, number, limit); err != nil {
				t.Fatal(err)
			}
		}
	}
	withoutRights(t)
	if err := write(first, limit/2); err != nil {
		t.Fatal(err)
	}
	if err := write(second, limit); !refused(err) {
		t.Errorf("more than the limit in two directories: %v; want that the quota is exceeded", err)
	}
	if err := write(other, limit/2); err != nil {
		t.Errorf("another job: %v", err)
	}
	if err := write(root, 2*limit); err != nil {
		t.Errorf("outside of all jobs: %v", err)
	}
	for range 2 {
		if err := diskquota.Unlimit(root, job); err != nil {
			t.Fatal(err)
		}
	}
	if err := write(second, 2*limit); err != nil {
		t.Errorf("without the limit: %v", err)
	}
	testRelease(t, root, second, other)
	if err := errors.Join(os.RemoveAll(first), os.RemoveAll(second)); err != nil {
		t.Fatal(err)
	}
	awaitForgotten(t, root)
}

// testRelease takes the limit of the job back by its own directory only.
func testRelease(t *testing.T, root, own, other string) {
	t.Helper()
	if err := diskquota.Limit(own, job, 4*limit); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{other, filepath.Join(root, "not-there"), root} { // of another job, of none, and of none
		if err := diskquota.Release(dir, job); err != nil || quotaOf(t, root).sizeLimit == 0 {
			t.Errorf("after the release of %s: %+v, %v; want the limit as before", dir, quotaOf(t, root), err)
		}
	}
	for range 2 {
		if err := diskquota.Release(own, job); err != nil || quotaOf(t, root).sizeLimit != 0 {
			t.Errorf("after the release of its directory: %+v, %v; want no limit", quotaOf(t, root), err)
		}
	}
}

// awaitForgotten waits until nothing is left of the job: XFS forgets deleted files in the background.
func awaitForgotten(t *testing.T, root string) {
	t.Helper()
	left := quotaOf(t, root)
	for deadline := time.Now().Add(time.Minute); left != (quota{}) && time.Now().Before(deadline); left = quotaOf(t, root) {
		time.Sleep(10 * time.Millisecond)
	}
	if left != (quota{}) {
		t.Errorf("%+v is left of the job", left)
	}
}

// withoutRights has this thread respect quotas as jobs have to, until the test ends. The kernel excepts CAP_SYS_RESOURCE.
func withoutRights(t *testing.T) {
	t.Helper()
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var before, after [2]unix.CapUserData
	runtime.LockOSThread() // rights are a thread's
	t.Cleanup(runtime.UnlockOSThread)
	runtime.LockOSThread()
	t.Cleanup(runtime.UnlockOSThread)
	if err := unix.Capget(&header, &before[0]); err != nil {
		t.Fatal(err)
	}
	after = before
	after[0].Effective &^= 1 << unix.CAP_SYS_RESOURCE
	if err := unix.Capset(&header, &after[0]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Capset(&header, &before[0]); err != nil {
			t.Error(err)
		}
	})
}

// write leaves a file of a size in a directory.
func write(dir string, size int) error {
	file, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		return err
	}
	_, err = file.Write(bytes.Repeat([]byte{1}, size))
	return errors.Join(err, file.Sync(), file.Close())
}

// refused says whether an error is the kernel's for a used-up quota: XFS says that the device is full.
func refused(err error) bool { return errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.ENOSPC) }

// quota is struct if_dqblk up to the count of files.
type quota struct {
	sizeLimit, softSizeLimit, size    uint64
	filesLimit, softFilesLimit, files uint64
}

// quotaOf returns what the kernel keeps of the job's project; nothing when it has forgotten it.
func quotaOf(t *testing.T, dir string) quota {
	t.Helper()
	const get, projects, project = 0x800007, 2, 1<<31 + job
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var answer struct {
		quota
		_ [3]uint64
	}
	_, _, errno := unix.Syscall6(unix.SYS_QUOTACTL_FD, root.Fd(), get<<8|projects, project, uintptr(unsafe.Pointer(&answer)), 0, 0)
	if errno != 0 && errno != unix.ENOENT { // XFS has nothing then
		t.Fatal(errno)
	}
	return answer.quota
}

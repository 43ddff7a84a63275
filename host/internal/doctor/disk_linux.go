package doctor

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// fileSystems that are met often, by statfs(2).
var fileSystems = map[int64]struct {
	name    string
	network bool
}{
	unix.EXT4_SUPER_MAGIC: {"ext4", false}, unix.XFS_SUPER_MAGIC: {"xfs", false}, unix.BTRFS_SUPER_MAGIC: {"btrfs", false},
	unix.TMPFS_MAGIC: {"tmpfs", false}, unix.OVERLAYFS_SUPER_MAGIC: {"overlayfs", false}, 0x2fc12fc1: {"zfs", false},
	unix.F2FS_SUPER_MAGIC: {"f2fs", false},
	unix.NFS_SUPER_MAGIC:  {"NFS", true}, unix.SMB_SUPER_MAGIC: {"SMB", true}, unix.CIFS_SUPER_MAGIC: {"CIFS", true},
	unix.SMB2_SUPER_MAGIC: {"SMB", true}, unix.AFS_SUPER_MAGIC: {"AFS", true}, unix.CEPH_SUPER_MAGIC: {"Ceph", true},
	unix.V9FS_MAGIC: {"9p", true},
}

func fileSystem(dir string) (kind string, network bool, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", false, err
	}
	known, isKnown := fileSystems[int64(st.Type)] //nolint:unconvert // another type on other processors
	if !isKnown {
		return fmt.Sprintf("a file system of type %#x", st.Type), false, nil
	}
	return known.name, known.network, nil
}

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// topDir is the T of chattr(1), which package unix lacks.
const topDir = 0x20000

// scatter has ext4 put each directory that is made in this one among inodes of
// its own, far from what an earlier bench has deleted: without a journal it passes
// over an inode for minutes after that, one by one for each new file. Other file
// systems do not know it and need it as little.
func scatter(dir string) {
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	defer f.Close()
	if flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS); err == nil {
		_ = unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags|topDir)
	}
}

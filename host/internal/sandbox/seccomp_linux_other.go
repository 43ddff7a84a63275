//go:build linux && !amd64 && !arm64

package sandbox

const (
	// auditArch 0 says that there is no filter for this processor.
	auditArch      = 0
	foreignNumbers = 0
)

var (
	forks, neverHere, oldAttributes []uint32
	oldModes, oldOpens              map[uint32]uint32
)

package sandbox

import "strings"

// Confinement is all that a program may do, besides computing and speaking with
// its host by the files and sockets that it is given. A path is that file, or that
// directory and all below it; one that does not exist gives nothing.
type Confinement struct {
	Read []string `json:"read,omitempty"`
	// Write allows reading, too, and creating, renaming and removing.
	Write []string `json:"write,omitempty"`
	// Execute allows reading, too.
	Execute []string `json:"execute,omitempty"`
	// Connect and Bind are TCP ports.
	Connect Ports `json:"connect,omitzero"`
	Bind    Ports `json:"bind,omitzero"`
	// UDP allows datagrams, to any port.
	UDP bool `json:"udp,omitempty"`
	// UnixSockets are paths, or "@" and an abstract name.
	UnixSockets []string `json:"unix_sockets,omitempty"`
	// Children allows starting other processes.
	Children bool `json:"children,omitempty"`
	// Signals allows signals to processes outside.
	Signals bool `json:"signals,omitempty"`
	// Attributes allows changing modes and owners of files: of those that are
	// open, and with Children of all, because no Landlock rule speaks of these.
	Attributes bool `json:"attributes,omitempty"`
}

// Ports are TCP ports. Port 0 is one that the kernel chooses.
type Ports struct {
	Any  bool     `json:"any,omitempty"`
	List []uint16 `json:"list,omitempty"`
}

// None says that there is no port.
func (p Ports) None() bool { return !p.Any && len(p.List) == 0 }

// privileged says that one of them is for root (ip(7), "ports below 1024").
func (p Ports) privileged() bool {
	if p.Any {
		return true
	}
	for _, port := range p.List {
		if port > 0 && port < 1024 {
			return true
		}
	}
	return false
}

// network says whether internet sockets are used at all.
func (c Confinement) network() bool { return !c.Connect.None() || !c.Bind.None() || c.UDP }

// dials says whether any socket is connected to anything: without it connect(2)
// can be refused as a whole, and unix sockets with it.
func (c Confinement) dials() bool {
	return !c.Connect.None() || c.UDP || len(c.UnixSockets) > 0
}

// abstract says whether a unix socket without a path is among them.
func (c Confinement) abstract() bool {
	for _, name := range c.UnixSockets {
		if strings.HasPrefix(name, "@") {
			return true
		}
	}
	return false
}

// Limits of a process (getrlimit(2)); zero leaves one as it is. They are never
// raised. Core files are never written.
type Limits struct {
	FileSize  uint64 `json:"file_size,omitempty"`
	OpenFiles uint64 `json:"open_files,omitempty"`
	// Data bounds private writable memory, which is what a program has of its
	// own. The address space is another thing: Go reserves much that it never
	// uses.
	Data         uint64 `json:"data,omitempty"`
	AddressSpace uint64 `json:"address_space,omitempty"`
	// Processes counts all threads of the user, not only those of this process.
	Processes uint64 `json:"processes,omitempty"`
}

// Limits for a confined program. One that starts others gets wide ones: a
// server's log or its map of addresses may be of any size.
func (c Confinement) Limits(u *User) Limits {
	l := Limits{FileSize: 256 << 20, OpenFiles: 1024, Data: 1 << 30, AddressSpace: 16 << 30}
	if c.Children {
		l = Limits{OpenFiles: 65536, Data: 16 << 30}
	}
	if u != nil {
		l.Processes = 512
	}
	return l
}

package plugintest

import (
	"fmt"
	"os"
	"syscall"
)

// ReservePort keeps a port of 127.0.0.1 for a plugin or a server that a test
// starts, until release: a socket that is bound and does not listen. Whoever binds
// with SO_REUSEADDR, as servers do, may have it; the kernel gives it to nobody else
// meanwhile.
func ReservePort() (port int, release func(), err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, nil, fmt.Errorf("reserve a port: %w", os.NewSyscallError("socket", err))
	}
	release = func() { _ = syscall.Close(fd) }
	defer func() {
		if err != nil {
			release()
		}
	}()
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, nil, fmt.Errorf("reserve a port: %w", os.NewSyscallError("setsockopt", err))
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, nil, fmt.Errorf("reserve a port: %w", os.NewSyscallError("bind", err))
	}
	address, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, nil, fmt.Errorf("reserve a port: %w", os.NewSyscallError("getsockname", err))
	}
	inet, ok := address.(*syscall.SockaddrInet4)
	if !ok {
		return 0, nil, errNoPort
	}
	return inet.Port, release, nil
}

//go:build !linux

package plugintest

import (
	"fmt"
	"net"
)

// ReservePort finds a port that is free now; elsewhere than on Linux nothing
// keeps it for the plugin.
func ReservePort() (port int, release func(), err error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, nil, fmt.Errorf("find a port: %w", err)
	}
	address, ok := listener.Addr().(*net.TCPAddr)
	_ = listener.Close()
	if !ok {
		return 0, nil, errNoPort
	}
	return address.Port, func() {}, nil
}

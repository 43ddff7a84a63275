package client

import (
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/certwright/certwright/sdk/internal/wire"
)

// ReattachKey names the variable that leads to plugins that their authors run.
const ReattachKey = wire.ReattachKey

// Reattach says where such a plugin listens.
type Reattach = wire.Reattach

// ParseReattach reads the variable; empty: there is none.
func ParseReattach(text string) (map[string]Reattach, error) {
	if text == "" {
		return nil, nil
	}
	var out map[string]Reattach
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		return nil, fmt.Errorf("%s is no JSON object of plugins: %w", ReattachKey, err)
	}
	for name, at := range out {
		host, _, _ := net.SplitHostPort(at.Address)
		switch ip := net.ParseIP(host); {
		case at.Protocol != "grpc" || at.ProtocolVersion != wire.Major:
			return nil, fmt.Errorf("%s: plugin %s speaks %s of version %d, not grpc of version %d", ReattachKey, name, at.Protocol, at.ProtocolVersion, wire.Major)
		case at.Network == "unix" && filepath.IsAbs(at.Address), at.Network == "tcp" && ip != nil && ip.IsLoopback():
		default:
			return nil, fmt.Errorf("%s: plugin %s listens at %s %s, which is neither a unix socket nor this machine's loopback", ReattachKey, name, at.Network, at.Address)
		}
	}
	return out, nil
}

// DialReattach prepares a connection, without TLS: the address is this machine's.
func DialReattach(at Reattach) (*grpc.ClientConn, error) {
	target := at.Address
	if at.Network == "unix" {
		target = "unix:" + target
	}
	return grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)))
}

package sdk

import "google.golang.org/grpc"

// Register serves a plugin on a server of the test's own.
func Register(g *grpc.Server, p Plugin) error {
	d, err := p.Description()
	if err != nil {
		return err
	}
	newServer(p, d).register(g)
	return nil
}

// ClearSettings is for tests.
func ClearSettings(settings any) { clearSettings(settings) }

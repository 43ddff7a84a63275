package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"gopkg.in/yaml.v3"

	"github.com/certwright/certwright/host/internal/model"
)

// scalars are the keys that viper resolves; the decoder only checks them.
var scalars = map[string]string{
	"email": "string", "server": "string", "ca_bundle": "string", "agree_tos": "bool",
	"key_type": "string", "state_dir": "string",
}

// scalar checks a global scalar where it was written: viper, which resolves it,
// knows no places.
func (d *decoder) scalar(n *yaml.Node, key, kind string) {
	if kind == "bool" {
		d.boolean(n, key)
		return
	}
	before := len(d.errs)
	text := d.text(n, key)
	if len(d.errs) > before {
		return
	}
	if err := checkScalar(key, text); err != nil {
		d.fail(n, "%v", err)
	}
}

// checkScalar says what is wrong with a global scalar, wherever it came from.
func checkScalar(key, text string) error {
	switch {
	case text == "":
		return nil
	case key == "email" && !strings.Contains(text, "@"):
		return fmt.Errorf("email %q is not an address", text)
	case key == "key_type":
		return checkKeyType(model.KeyType(text))
	case key == "server":
		_, err := ServerURL(text)
		return err
	}
	return nil
}

// setPlace notes where a global scalar was written.
func (c *Config) setPlace(key string, p Pos) {
	if c.places == nil {
		c.places = map[string]Pos{}
	}
	c.places[key] = p
}

// CheckCABundle reads the file of roots. What cannot be used there would fail
// every request to the CA.
func (c *Config) CheckCABundle() error {
	if c.CABundle == "" {
		return nil
	}
	data, err := os.ReadFile(c.CABundle)
	if err != nil {
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		return errorAt(c.places["ca_bundle"], "ca_bundle %s cannot be read: %v", c.CABundle, err)
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		return errorAt(c.places["ca_bundle"], "ca_bundle %s holds no PEM certificate", c.CABundle)
	}
	return nil
}

//go:build !linux

package doctor

import "errors"

func fileSystem(string) (kind string, network bool, err error) {
	return "", false, errors.New("this system is not asked")
}

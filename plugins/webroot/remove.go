package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/certwright/certwright/sdk"
)

// gone says that there is nothing to remove.
func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, errNowhere)
}

// removeFile removes a token's file and what a crash may have left of it.
func removeFile(root, token string) error {
	d, err := descend(root, levels[len(levels)-1])
	if gone(err) {
		return nil
	}
	if err == nil {
		defer func() { _ = d.Close() }()
		for _, name := range []string{tempName(token), token} {
			if e := d.Remove(name); e != nil && !gone(e) {
				err = errors.Join(err, e)
			}
		}
	}
	if err != nil {
		return fmt.Errorf("remove %s: %w", filepath.Join(root, levels[len(levels)-1], token), err)
	}
	return nil
}

// removeLevels removes the directories that this plugin made, deepest first, as
// far as they are empty. What stays is still in the page, for the next Cleanup.
func removeLevels(root string, page *page, r sdk.Reporter) {
	for _, level := range slices.Backward(levels) {
		if !slices.Contains(page.Made, level) {
			continue
		}
		left, err := removeLevel(root, level)
		switch {
		case err == nil:
			page.disown(level)
			continue
		case !errors.Is(err, syscall.ENOTEMPTY) && !errors.Is(err, syscall.EEXIST):
			r.Progress("", fmt.Sprintf("directory %s stays: %v", filepath.Join(root, level), err))
		case !page.uses(level, left):
			r.Progress("", fmt.Sprintf("directory %s stays: it holds %s", filepath.Join(root, level), strings.Join(left, ", ")))
		}
		return // what is around it is not empty either
	}
}

// uses says that all that is left in a level is needed by other orders.
func (p *page) uses(level string, left []string) bool {
	return level == levels[len(levels)-1] && !slices.ContainsFunc(left, func(name string) bool {
		_, ok := p.Tokens[name]
		return !ok
	})
}

// removeLevel removes one directory if it is empty; if not it says what is left.
func removeLevel(root, level string) (left []string, err error) {
	name := filepath.Base(level)
	outer, err := descend(root, strings.TrimSuffix(level, name))
	if gone(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = outer.Close() }()
	info, err := outer.Lstat(name)
	if gone(err) || err == nil && !info.IsDir() { // gone, or what somebody else put in its place
		return nil, nil
	}
	if err == nil {
		err = outer.Remove(name)
	}
	if err == nil || gone(err) {
		return nil, nil
	}
	if f, openErr := outer.Open(name); openErr == nil {
		left, _ = f.Readdirnames(10) // for a message; the error says enough
		_ = f.Close()
		slices.Sort(left)
	}
	return left, err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/certwright/certwright/sdk"
)

// undoLimit bounds what is put back whatever has become of the call.
const undoLimit = 30 * time.Second

func undoing(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), undoLimit)
}

// inventory lists the certificates that haproxy has in memory.
func (r *runtime) inventory(ctx context.Context) (inventory, error) {
	answer, err := r.ask(ctx, "show ssl cert", nil)
	if err != nil {
		return inventory{}, err
	}
	out, ok := parseInventory(answer)
	if !ok {
		return out, judge("list the certificates", answer)
	}
	return out, nil
}

// detail describes one certificate that the inventory has.
func (r *runtime) detail(ctx context.Context, name string) (detail, error) {
	answer, err := r.ask(ctx, "show ssl cert "+name, nil)
	if err != nil {
		return detail{}, err
	}
	out, ok := parseDetail(answer)
	if !ok {
		return out, judge("look at the certificate "+name, answer)
	}
	return out, nil
}

// lists gives the crt-lists and the directories that certificates are read from.
func (r *runtime) lists(ctx context.Context) ([]string, error) {
	return r.listed(ctx, "show ssl crt-list")
}

func (r *runtime) listed(ctx context.Context, command string) ([]string, error) {
	answer, err := r.ask(ctx, command, nil)
	if err != nil {
		return nil, err
	}
	out, ok := parseListed(answer)
	if !ok {
		return nil, judge("look at the crt-lists", answer)
	}
	return out, nil
}

// replace has haproxy serve new content for a certificate that it knows. On an
// error it serves what it served, and no transaction is left open.
func (r *runtime) replace(ctx context.Context, name string, content []byte) (err error) {
	defer func() {
		if err != nil {
			ctx, cancel := undoing(ctx)
			defer cancel()
			err = errors.Join(err, r.abort(ctx, name))
		}
	}()
	answer, err := r.ask(ctx, "set ssl cert "+name, content)
	if errors.Is(err, errSilent) {
		return fmt.Errorf("hand over the certificate %s of %d bytes: %w", name, len(content), errTooLong)
	}
	if err != nil {
		return err
	}
	switch file, created, ok := parseTransaction(answer); {
	case !ok:
		return judge("hand over the certificate "+name, answer)
	case file != name:
		// Somebody has begun another transaction since we looked, and haproxy has
		// put our content into that one. It must not be committed.
		return errors.Join(transactionConflict(file), r.abort(ctx, file))
	case !created:
		return transactionConflict(file)
	}
	answer, err = r.ask(ctx, "commit ssl cert "+name, nil)
	if err != nil {
		return err
	}
	if !isSuccess(answer) {
		return judge("commit the certificate "+name, answer)
	}
	return nil
}

// errTooLong is what an answer that never came means after a payload.
var errTooLong = fmt.Errorf("%w: the text is longer than its buffer takes", errSilent)

func transactionConflict(file string) error {
	err := sdk.Problemf(sdk.Conflict, "somebody else is changing the certificate %s in haproxy", file)
	return sdk.Hint(sdk.RetryAfter(err, time.Minute), "wait until that is done, or end it by \"abort ssl cert %s\"", file)
}

// abort ends an open transaction; that there is none is fine.
func (r *runtime) abort(ctx context.Context, name string) error {
	answer, err := r.ask(ctx, "abort ssl cert "+name, nil)
	switch {
	case err != nil:
		return err
	case isAborted(answer), isUnknownCommand(answer), isPermissionDenied(answer):
		return nil // without the level for it nothing was begun
	}
	return judge("abort the change of the certificate "+name, answer)
}

// create makes a certificate that haproxy has no file of, not in use yet.
func (r *runtime) create(ctx context.Context, name string, content []byte) error {
	answer, err := r.ask(ctx, "new ssl cert "+name, nil)
	if err != nil {
		return err
	}
	if !isCreated(answer) {
		return judge("make room for the certificate "+name, answer)
	}
	if err := r.replace(ctx, name, content); err != nil {
		ctx, cancel := undoing(ctx)
		defer cancel()
		return errors.Join(err, r.forget(ctx, name))
	}
	return nil
}

// forget removes a certificate that is not in use.
func (r *runtime) forget(ctx context.Context, name string) error {
	answer, err := r.ask(ctx, "del ssl cert "+name, nil)
	if err != nil {
		return err
	}
	if !isDeleted(answer) {
		return judge("remove the certificate "+name, answer)
	}
	return nil
}

// insert puts a certificate into a crt-list or a directory. rest are options
// and filters as they stand in a crt-list.
func (r *runtime) insert(ctx context.Context, list, name, rest string) error {
	command, content := "add ssl crt-list "+list+" "+name, []byte(nil)
	if rest != "" {
		command, content = "add ssl crt-list "+list, []byte(name+" "+rest+"\n")
	}
	answer, err := r.ask(ctx, command, content)
	if err != nil {
		return err
	}
	if !isSuccess(answer) {
		return judge(fmt.Sprintf("use the certificate %s in %s", name, list), answer)
	}
	return nil
}

// takeOut is the opposite of insert, once for each line that has the name.
func (r *runtime) takeOut(ctx context.Context, list, name string) error {
	for {
		number, err := r.lineOf(ctx, list, name)
		if err != nil || number == "" {
			return err
		}
		target := name
		if number != "0" { // in a directory lines have no number
			target += ":" + number
		}
		answer, err := r.ask(ctx, "del ssl crt-list "+list+" "+target, nil)
		if err != nil {
			return err
		}
		if !isTakenOut(answer) {
			return judge(fmt.Sprintf("take the certificate %s out of %s", name, list), answer)
		}
	}
}

// lineOf gives the number of a line with the name; empty: there is none.
func (r *runtime) lineOf(ctx context.Context, list, name string) (string, error) {
	lines, err := r.listed(ctx, "show ssl crt-list -n "+list)
	if err != nil {
		return "", err
	}
	for _, line := range lines {
		if file, number := parseNumbered(line); file == name {
			return number, nil
		}
	}
	return "", nil
}

// match finds a path among names as haproxy knows them; empty: it is not there.
func match(names []string, path string) string {
	n := slices.IndexFunc(names, func(name string) bool { return samePath(name, path) })
	if n < 0 {
		return ""
	}
	return names[n]
}

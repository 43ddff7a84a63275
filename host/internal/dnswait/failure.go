package dnswait

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

var (
	errNotAsked  = errors.New("it did not answer in time")
	errNoAddress = errors.New("none of the zone's name servers has an address")
)

// Lack is one server that does not show all of one record.
type Lack struct {
	// Name of the record and its zone.
	Name, Zone string
	// Server is zero if the zone has none.
	Server  Server
	Missing []string
	// Err is why the server shows nothing; nil: it answers, without what is
	// missing.
	Err error
}

func (l Lack) String() string {
	switch {
	case l.Server == Server{}:
		return l.Err.Error()
	case l.Err != nil && l.Server.Address == "":
		return fmt.Sprintf("%s: %v", l.Server.Name, l.Err)
	case l.Err != nil:
		return fmt.Sprintf("%s: %v", l.Server, l.Err)
	}
	return fmt.Sprintf("%s lacks %s", l.Server, quoted(l.Missing))
}

func quoted(values []string) string {
	var out []string
	for _, v := range values {
		out = append(out, fmt.Sprintf("%q", v))
	}
	return strings.Join(out, " and ")
}

// describe lists what is lacking, by record.
func describe(lacks []Lack) string {
	var names []string
	by := map[string][]string{}
	for _, l := range lacks {
		if by[l.Name] == nil {
			names = append(names, l.Name)
		}
		by[l.Name] = append(by[l.Name], l.String())
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		fmt.Fprintf(&b, "\n  TXT %s:", name)
		for _, text := range by[name] {
			fmt.Fprintf(&b, "\n    %s", strings.ReplaceAll(text, "\n", "\n      "))
		}
	}
	return b.String()
}

func of(lacks []Lack, name string) []Lack {
	return slices.DeleteFunc(slices.Clone(lacks), func(l Lack) bool { return !same(l.Name, name) })
}

// TimeoutError says which server did not show which value in time.
type TimeoutError struct {
	Timeout time.Duration
	Lacks   []Lack
}

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("not every name server showed what it should within %s:%s", e.Timeout, describe(e.Lacks))
}

// Hint says what to do.
func (e *TimeoutError) Hint() string {
	return "look whether these servers get the zone from where the record is written; if they only take longer, give them more time with dns.timeout"
}

// About gives the part of the error that is about one name; nil: it is seen.
func (e *TimeoutError) About(name string) error {
	if lacks := of(e.Lacks, name); len(lacks) > 0 {
		return &TimeoutError{Timeout: e.Timeout, Lacks: lacks}
	}
	return nil
}

// UnreachableError says that none of a zone's name servers could be asked, and
// that there is no resolver that could be asked in their place.
type UnreachableError struct {
	Lacks []Lack
	names []string
}

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("no name server of the zone can be asked for %s, and no resolver is configured that could be asked instead (set dns.resolvers, or dns.skip to do without):%s",
		strings.Join(e.names, ", "), describe(e.Lacks))
}

// Hint says what to do.
func (e *UnreachableError) Hint() string {
	return "let this machine reach the name servers on port 53 (UDP and TCP), or set dns.resolvers, or set dns.skip to have the CA look without having looked first"
}

// About gives the part of the error that is about one name; nil: it is seen.
func (e *UnreachableError) About(name string) error {
	if lacks := of(e.Lacks, name); len(lacks) > 0 {
		return &UnreachableError{Lacks: lacks, names: []string{name}}
	}
	return nil
}

func joined(late *TimeoutError, blind *UnreachableError) error {
	switch {
	case len(late.Lacks) == 0 && len(blind.Lacks) == 0:
		return nil
	case len(blind.Lacks) == 0:
		return late
	case len(late.Lacks) == 0:
		return blind
	}
	return &failures{late, blind}
}

// failures are both kinds at once.
type failures struct {
	late  *TimeoutError
	blind *UnreachableError
}

func (e *failures) Error() string   { return e.late.Error() + "\n" + e.blind.Error() }
func (e *failures) Unwrap() []error { return []error{e.late, e.blind} }
func (e *failures) Hint() string    { return e.blind.Hint() }

// About gives the part of the error that is about one name; nil: it is seen.
func (e *failures) About(name string) error {
	return errors.Join(e.late.About(name), e.blind.About(name))
}

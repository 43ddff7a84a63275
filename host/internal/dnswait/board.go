package dnswait

import (
	"fmt"
	"slices"
)

// board is what is known of every record at every server. Only the goroutine
// that waits writes to it.
type board struct{ rows []*row }

// row is one record.
type row struct {
	Record
	cells []*cell
}

// cell is one record at one server.
type cell struct {
	server Server
	look   look
	// asked at all; outs is how often in a row the server was out.
	asked bool
	outs  int
}

func newBoard(records []Record) *board {
	b := &board{}
	for _, r := range records {
		row := &row{Record: r}
		for _, s := range r.Place.Servers {
			row.cells = append(row.cells, &cell{server: s, look: look{missing: r.Values}})
		}
		b.rows = append(b.rows, row)
	}
	return b
}

func (c *cell) note(l look) {
	c.asked, c.look = true, l
	if l.out {
		c.outs++
	} else {
		c.outs = 0
	}
}

// state of a record.
type state int

const (
	// waiting: a server that can be reached does not show it yet, or it is not
	// known which ones can.
	waiting state = iota
	// agreed: all that can be reached show it.
	agreed
	// unreachable: nobody can be asked.
	unreachable
)

func (r *row) state() state {
	seen, out := 0, 0
	blind := true
	for _, c := range r.cells {
		switch {
		case !c.asked:
			return waiting
		case c.look.seen():
			seen++
		case c.look.out:
			out++
			blind = blind && c.outs >= blindAfter
		}
	}
	switch {
	case seen+out < len(r.cells):
		return waiting
	case seen > 0:
		return agreed
	case blind:
		return unreachable
	}
	return waiting
}

func (b *board) decided() bool {
	return !slices.ContainsFunc(b.rows, func(r *row) bool { return r.state() == waiting })
}

// lacks says which servers do not show the record.
func (r *row) lacks() []Lack {
	var out []Lack
	for _, c := range r.cells {
		if !c.look.seen() {
			l := Lack{Name: r.Place.Name, Zone: r.Place.Zone, Server: c.server, Missing: c.look.missing, Err: c.look.failed}
			if !c.asked {
				l.Err = errNotAsked
			}
			out = append(out, l)
		}
	}
	if len(r.cells) == 0 {
		out = append(out, Lack{Name: r.Place.Name, Zone: r.Place.Zone, Missing: r.Values, Err: errNoAddress})
	}
	return out
}

// warn tells once of every server that is left out.
func (b *board) warn(progress func(string, ...any)) {
	told := map[string]bool{}
	for _, r := range b.rows {
		if r.state() != agreed {
			continue
		}
		for _, c := range r.cells {
			text := fmt.Sprintf("the name server %s of the zone %s is left out", c.server, r.Place.Zone)
			if c.look.out && !told[text] {
				told[text] = true
				progress("%s: %v", text, c.look.failed)
			}
		}
	}
}

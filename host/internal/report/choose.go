package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/certwright/certwright/sdk"
)

// Choose has the user pick from a list by numbers, and gives them from 0. To
// answer nothing is to pick all.
func (t *Terminal) Choose(ctx context.Context, question string, options []string) ([]int, error) {
	if !t.TTY || !t.Interactive {
		return nil, sdk.ErrNotInteractive
	}
	text := question + "\n"
	for i, option := range options {
		text += fmt.Sprintf("%4d: %s\n", i+1, option)
	}
	text += "Numbers, separated by commas or spaces; nothing means all: "
	for {
		answer, err := t.Ask(ctx, text)
		if errors.Is(err, io.EOF) {
			return nil, sdk.ErrNotInteractive
		}
		if err != nil {
			return nil, err
		}
		picked, err := numbers(answer, len(options))
		if err == nil {
			return picked, nil
		}
		text = err.Error() + "; again: "
	}
}

func numbers(answer string, most int) ([]int, error) {
	var out []int
	for _, word := range strings.FieldsFunc(answer, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 || n > most {
			return nil, fmt.Errorf("%q is no number from 1 to %d", word, most)
		}
		if !slices.Contains(out, n-1) {
			out = append(out, n-1)
		}
	}
	if len(out) == 0 {
		for i := range most {
			out = append(out, i)
		}
	}
	return out, nil
}

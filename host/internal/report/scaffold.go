package report

import (
	"fmt"
	"strings"
)

// Created tells that the folder of a new plugin was written, and what comes next.
func (t *Terminal) Created(name, dir string, files []string) {
	if t.JSON {
		t.json(struct {
			Type  string   `json:"type"`
			Name  string   `json:"name"`
			Dir   string   `json:"dir"`
			Files []string `json:"files"`
		}{"created", name, dir, append([]string{}, files...)})
		return
	}
	t.Print(fmt.Sprintf("%s: %s\n", dir, strings.Join(files, " ")))
	t.Tell("", "next: make -C %s test", dir)
}

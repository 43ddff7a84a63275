package report

import "fmt"

// Finding shows one finding of the doctor.
func (t *Terminal) Finding(check, level, text, hint string) {
	if t.JSON {
		t.json(struct {
			Type  string `json:"type"`
			Check string `json:"check"`
			Level string `json:"level"`
			Text  string `json:"text"`
			Hint  string `json:"hint,omitempty"`
		}{"finding", check, level, text, hint})
		return
	}
	t.Print(fmt.Sprintf("%-8s %-12s %s\n", level, check, text))
	if hint != "" {
		t.Print("  hint: " + hint + "\n")
	}
}

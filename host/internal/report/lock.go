package report

import "fmt"

// Locked tells that plugins.lock was written.
func (t *Terminal) Locked(path string, names []string) {
	if t.JSON {
		t.json(struct {
			Type    string   `json:"type"`
			Path    string   `json:"path"`
			Plugins []string `json:"plugins"`
		}{"locked", path, append([]string{}, names...)})
		return
	}
	t.Print(fmt.Sprintf("%s locks %s\n", path, plural(len(names), "plugin")))
}

// Verified tells whether a plugin is as it was locked; err says why not.
func (t *Terminal) Verified(name string, err error) {
	if t.JSON {
		t.json(struct {
			Type    string     `json:"type"`
			Name    string     `json:"name"`
			OK      bool       `json:"ok"`
			Refused *errorJSON `json:"refused,omitempty"`
		}{"verified", name, err == nil, toErrorJSON(err)})
		return
	}
	if err == nil {
		t.Print(name + " ok\n")
		return
	}
	t.Print(fmt.Sprintf("%s DIFFERS: %v\n", name, err))
	if hint := Hint(err); hint != "" {
		t.Print("  hint: " + hint + "\n")
	}
}

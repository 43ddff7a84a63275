package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// flattened gives a JSON object in the form in which dehydrated keeps what a CA
// has answered, and hands it to hooks: a line for each value, its path in
// brackets, what is inside before what holds it. What is no JSON stays as it is.
func flattened(text []byte) string {
	var lines []string
	if _, err := flatten(text, "", &lines); err != nil {
		return string(text)
	}
	return strings.Join(lines, "\n")
}

// flatten adds the lines of a value and gives the value without space.
func flatten(text []byte, path string, lines *[]string) (string, error) {
	dec := json.NewDecoder(bytes.NewReader(text))
	token, err := dec.Token()
	if err != nil {
		return "", err
	}
	value := strings.ReplaceAll(strings.TrimSpace(string(text)), `\/`, "/")
	if open, ok := token.(json.Delim); ok {
		var parts []string
		for i := 0; dec.More(); i++ {
			key, prefix := fmt.Sprint(i), ""
			if open == '{' {
				name, err := dec.Token()
				if err != nil {
					return "", err
				}
				quoted, err := json.Marshal(name)
				if err != nil {
					return "", err
				}
				key, prefix = string(quoted), string(quoted)+":"
			}
			var raw json.RawMessage
			if err := dec.Decode(&raw); err != nil {
				return "", err
			}
			inside := key
			if path != "" {
				inside = path + "," + key
			}
			part, err := flatten(raw, inside, lines)
			if err != nil {
				return "", err
			}
			parts = append(parts, prefix+part)
		}
		value = "{" + strings.Join(parts, ",") + "}"
		if open == '[' {
			value = "[" + strings.Join(parts, ",") + "]"
		}
	}
	if path != "" {
		*lines = append(*lines, "["+path+"]\t"+value)
	}
	return value, nil
}

package main

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf16"
)

// object is a JSON object whose keys have an order, written as Python's json
// module writes it: that is what the programs that read it have always got.
type object []field

// field is one key. The value is a string, nil, a bool, an int64, a float64, or
// a list of objects or strings.
type field struct {
	key   string
	value any
}

func (o object) text() string {
	parts := make([]string, 0, len(o))
	for _, f := range o {
		parts = append(parts, quoted(f.key)+": "+encoded(f.value))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func encoded(value any) string {
	switch v := value.(type) {
	case nil:
		return "null"
	case string:
		return quoted(v)
	case bool:
		return strconv.FormatBool(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case float64:
		text := strconv.FormatFloat(v, 'f', -1, 64)
		if !strings.Contains(text, ".") {
			text += ".0"
		}
		return text
	case object:
		return v.text()
	case []object:
		return list(v)
	case []string:
		return list(v)
	}
	return quoted(fmt.Sprint(value))
}

func list[T any](values []T) string {
	parts := make([]string, 0, len(values))
	for _, v := range values {
		parts = append(parts, encoded(v))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// quoted is a JSON string in ASCII.
func quoted(s string) string {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string and a strings.Builder do not fail
	text := strings.TrimSuffix(b.String(), "\n")
	b.Reset()
	for _, r := range text {
		switch {
		case r < 0x80:
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// environment are the variables that a handler gets of an object: each key as it
// is and with the prefix cbot_, and the whole as cbot_json.
func (o object) environment() map[string]string {
	env := map[string]string{"cbot_json": o.text()}
	for _, f := range o {
		if f.key == "command" {
			continue
		}
		text := plain(f.value)
		env[f.key], env["cbot_"+f.key] = text, text
	}
	return env
}

func (o object) get(key string) string {
	for _, f := range o {
		if f.key == key {
			return plain(f.value)
		}
	}
	return ""
}

// plain is a value as a variable holds it, in Python's words.
func plain(value any) string {
	switch v := value.(type) {
	case nil:
		return "None"
	case bool:
		if v {
			return "True"
		}
		return "False"
	case string:
		return v
	case float64:
		return strconv.FormatFloat(math.Ceil(v), 'f', 0, 64)
	}
	return encoded(value)
}

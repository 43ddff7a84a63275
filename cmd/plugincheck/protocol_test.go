package main

import (
	"encoding/hex"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/certwright/certwright/sdk"
)

const protoPackage = "certwright.plugin.v1"

// contract reads the descriptor set, as a plugin in another language does.
func contract(t *testing.T) *protoregistry.Files {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "sdk/proto/certwright/plugin/v1/plugin.binpb"))
	if err != nil {
		t.Fatal(err)
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(data, &set); err != nil {
		t.Fatal(err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func protocolPage(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "docs", "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(page)
}

// rows are the lines of a table below a heading: its cells, without backquotes.
type rows map[string][][]string

var heading = regexp.MustCompile("^###+ `([\\w.]+)`$")

// tables reads what stands below each heading that is a name of the proto.
func tables(page string) rows {
	out := rows{}
	name := ""
	for line := range strings.Lines(page) {
		line = strings.TrimSpace(line)
		if found := heading.FindStringSubmatch(line); found != nil {
			name = found[1]
			out[name] = nil
			continue
		}
		if strings.HasPrefix(line, "#") {
			name = ""
		}
		if name == "" || !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") {
			continue
		}
		var cells []string
		for cell := range strings.SplitSeq(strings.Trim(line, "|"), "|") {
			cells = append(cells, strings.ReplaceAll(strings.TrimSpace(cell), "`", ""))
		}
		if cells[0] != "number" && cells[0] != "rpc" {
			out[name] = append(out[name], cells)
		}
	}
	return out
}

// wanted is what the page has to say, from the descriptor: for each name the
// cells that are not prose.
func wanted(files *protoregistry.Files) rows {
	out := rows{}
	var message func(protoreflect.MessageDescriptor)
	enums := func(all protoreflect.EnumDescriptors) {
		for i := range all.Len() {
			e := all.Get(i)
			name := relative(e)
			out[name] = nil
			for j := range e.Values().Len() {
				v := e.Values().Get(j)
				out[name] = append(out[name], []string{strconv.Itoa(int(v.Number())), string(v.Name())})
			}
		}
	}
	message = func(m protoreflect.MessageDescriptor) {
		if m.IsMapEntry() {
			return
		}
		out[relative(m)] = nil
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			out[relative(m)] = append(out[relative(m)], []string{strconv.Itoa(int(f.Number())), string(f.Name()), typeOf(f)})
		}
		enums(m.Enums())
		for i := range m.Messages().Len() {
			message(m.Messages().Get(i))
		}
	}
	files.RangeFilesByPackage(protoPackage, func(file protoreflect.FileDescriptor) bool {
		for i := range file.Messages().Len() {
			message(file.Messages().Get(i))
		}
		enums(file.Enums())
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				answer := relative(m.Output())
				if m.IsStreamingServer() {
					answer = "stream of " + answer
				}
				out[relative(s)] = append(out[relative(s)], []string{string(m.Name()), relative(m.Input()), answer})
			}
		}
		return true
	})
	return out
}

func relative(d protoreflect.Descriptor) string {
	return strings.TrimPrefix(string(d.FullName()), protoPackage+".")
}

func typeOf(f protoreflect.FieldDescriptor) string {
	one := func(f protoreflect.FieldDescriptor) string {
		switch {
		case f.Message() != nil:
			return strings.TrimPrefix(relative(f.Message()), "google.protobuf.")
		case f.Enum() != nil:
			return relative(f.Enum())
		}
		return f.Kind().String()
	}
	switch {
	case f.IsMap():
		return "map of " + one(f.MapKey()) + " to " + one(f.MapValue())
	case f.IsList():
		return "list of " + one(f)
	}
	return one(f)
}

// The page has every service, rpc, message, field, enum and value with number and
// type, in the order of the proto, and nothing that is not there.
func TestProtocolPageIsTheProto(t *testing.T) {
	said, want := tables(protocolPage(t)), wanted(contract(t))
	if len(want) < 50 || len(want["Plugin"]) != 5 || len(want["Problem"]) != 7 {
		t.Fatalf("the descriptor has only %d names", len(want))
	}
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if _, ok := said[name]; !ok {
			t.Errorf("docs/protocol.md has no heading for %s", name)
			continue
		}
		var cells [][]string
		for _, row := range said[name] {
			if len(row) != len(want[name][0])+1 {
				t.Fatalf("docs/protocol.md: %s has the row %q", name, row)
			}
			cells = append(cells, row[:len(row)-1])
		}
		if !reflect.DeepEqual(cells, want[name]) {
			t.Errorf("docs/protocol.md says of %s:\n%q\nthe proto is:\n%q", name, cells, want[name])
		}
	}
	for name := range said {
		if _, ok := want[name]; !ok {
			t.Errorf("docs/protocol.md has a heading for %s, which the proto does not have", name)
		}
	}
}

// A page that lacks a field, or has one too many, is seen.
func TestTablesAreCompared(t *testing.T) {
	page := "## x\n\n### `Plugin`\n\n| rpc | request | answer | when |\n|---|---|---|---|\n| `A` | `B` | stream of `Event` | never |\n\n## y\n| no | table |\n"
	want := rows{"Plugin": {{"A", "B", "stream of Event", "never"}}}
	if got := tables(page); !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Every example is a message of its name, and the bytes are those of the event
// before them.
func TestProtocolExamples(t *testing.T) {
	files := contract(t)
	blocks := regexp.MustCompile("(?ms)^```(json|hex) (\\w+)\n(.*?)^```$").FindAllStringSubmatch(protocolPage(t), -1)
	if len(blocks) < 12 {
		t.Fatalf("only %d examples", len(blocks))
	}
	var last proto.Message
	for _, block := range blocks {
		found, err := files.FindDescriptorByName(protoreflect.FullName(protoPackage + "." + block[2]))
		if err != nil {
			t.Fatalf("%s: %v", block[2], err)
		}
		descriptor, ok := found.(protoreflect.MessageDescriptor)
		if !ok {
			t.Fatalf("%s is no message", block[2])
		}
		if block[1] == "json" {
			last = dynamicpb.NewMessage(descriptor)
			if err := protojson.Unmarshal([]byte(block[3]), last); err != nil {
				t.Errorf("%s: %v\n%s", block[2], err, block[3])
			}
			continue
		}
		data, err := hex.DecodeString(strings.Join(strings.Fields(block[3]), ""))
		if err != nil {
			t.Fatal(err)
		}
		decoded := dynamicpb.NewMessage(descriptor)
		if err := proto.Unmarshal(data, decoded); err != nil || !proto.Equal(decoded, last) {
			t.Errorf("%s is %v (%v), not the example before it, %v", block[3], decoded, err, last)
		}
	}
}

// The members of describe's JSON are named, all of them.
func TestProtocolPageNamesTheDescription(t *testing.T) {
	page := protocolPage(t)
	_, part, _ := strings.Cut(page, "\n## The description as JSON\n")
	part, _, found := strings.Cut(part, "\n## Messages\n")
	if !found {
		t.Fatal("docs/protocol.md has not both of these parts")
	}
	var members func(reflect.Type)
	members = func(typ reflect.Type) {
		for i := range typ.NumField() {
			name, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			if name != "" && !strings.Contains(part, "`"+name+"`") {
				t.Errorf("docs/protocol.md does not name the member %s of the description", name)
			}
			inner := typ.Field(i).Type
			if inner.Kind() == reflect.Slice {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				members(inner)
			}
		}
	}
	members(reflect.TypeFor[sdk.Description]())
}

// Every check and every constant of the handshake is named.
func TestProtocolPageNamesChecksAndConstants(t *testing.T) {
	page := protocolPage(t)
	wire, err := os.ReadFile(filepath.Join(root, "sdk/internal/wire/wire.go"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range regexp.MustCompile(`(?m)= "(\w{6,})"$`).FindAllStringSubmatch(string(wire), -1) {
		names = append(names, m[1])
	}
	checked, err := os.ReadFile(filepath.Join(root, "sdk/plugintest/testdata/names.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range strings.Fields(string(checked)) {
		names = append(names, check[strings.Index(check, "/")+1:])
	}
	for _, name := range names {
		if !strings.Contains(page, name) {
			t.Errorf("docs/protocol.md does not mention %s", name)
		}
	}
}

// The plugin that the page ends with is written from the page alone, and keeps
// the contract.
func TestPluginOfTheProtocolPage(t *testing.T) {
	dir := t.TempDir()
	code := regexp.MustCompile("(?ms)^```python\n(.*?)^```$").FindAllStringSubmatch(protocolPage(t), -1)
	if len(code) != 1 {
		t.Fatalf("the page has %d pieces of Python", len(code))
	}
	binary := filepath.Join(dir, "certwright-plugin-raw")
	descriptors, err := os.ReadFile(filepath.Join(root, "sdk/proto/certwright/plugin/v1/plugin.binpb"))
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{binary: []byte(code[0][1]), filepath.Join(dir, "plugin.binpb"): descriptors} {
		if err := os.WriteFile(name, content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	exit, stdout, stderr := plugincheck(t, "--json", "--set", "path={dir}", binary)
	if exit != exitPassed || stderr != "" {
		t.Fatalf("exit %d\n%s%s", exit, stdout, stderr)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var c card
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &c); err != nil {
		t.Fatal(err)
	}
	if c.Passed < 28 || c.Failed > 0 || c.Unseen > 0 {
		t.Errorf("score %+v\n%s", c.count, stdout)
	}
}

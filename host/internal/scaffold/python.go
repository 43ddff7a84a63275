package scaffold

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	pb "github.com/certwright/certwright/sdk/proto/certwright/plugin/v1"
)

func (r Request) pythonFiles() ([]file, error) {
	v := r.values()
	var roles, writes []string
	for _, x := range []struct {
		has           bool
		role, setting string
	}{{v.Authenticator, "authenticator", "path"}, {v.Installer, "installer", "dir"}, {v.Hook, "hook", "log"}} {
		if x.has {
			roles = append(roles, fmt.Sprintf("%q", x.role))
			writes = append(writes, fmt.Sprintf(`{"setting": %q}`, x.setting))
		}
	}
	v.RoleList, v.PythonWrites = strings.Join(roles, ", "), strings.Join(writes, ", ")
	if !v.Several {
		v.PythonRequired = `, "required": True`
	}
	files, err := renderAll(v, "python", []part{
		{template: "plugin.tmpl", name: binaryPrefix + r.Name, wanted: true, executable: true},
		{template: "certwright_plugin.py.tmpl", name: "certwright_plugin.py", wanted: true},
		{template: "certwright_files.py.tmpl", name: "certwright_files.py", wanted: v.Installer},
		{template: "test_plugin.py.tmpl", name: "test_plugin.py", wanted: true},
		{template: "requirements.txt.tmpl", name: "requirements.txt", wanted: true},
		{template: "Makefile.tmpl", name: "Makefile", wanted: true},
		{template: "README.md.tmpl", name: "README.md", wanted: true},
	})
	if err != nil {
		return nil, err
	}
	messages, err := descriptorSet()
	if err != nil {
		return nil, err
	}
	return append(files, file{name: "plugin.binpb", data: messages, mode: 0o644}), nil
}

// descriptorSet describes all messages of the protocol, each file after those that
// it imports.
func descriptorSet() ([]byte, error) {
	set := &descriptorpb.FileDescriptorSet{}
	seen := map[string]bool{}
	var add func(protoreflect.FileDescriptor)
	add = func(f protoreflect.FileDescriptor) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		for i := range f.Imports().Len() {
			add(f.Imports().Get(i).FileDescriptor)
		}
		set.File = append(set.File, protodesc.ToFileDescriptorProto(f))
	}
	add(pb.File_certwright_plugin_v1_plugin_proto)
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("describe the messages of the protocol: %w", err)
	}
	return data, nil
}

package plugintest

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// greasedField is a number that no message of the contract will ever use.
const greasedField = 536870000

// greased is a connection that adds a field that nobody knows to every message,
// as a later minor of the contract would.
type greased struct{ grpc.ClientConnInterface }

func (g greased) Invoke(ctx context.Context, method string, args, reply any, opts ...grpc.CallOption) error {
	return g.ClientConnInterface.Invoke(ctx, method, greaseAny(args), reply, opts...)
}

func (g greased) NewStream(
	ctx context.Context, desc *grpc.StreamDesc, method string, opts ...grpc.CallOption,
) (grpc.ClientStream, error) {
	stream, err := g.ClientConnInterface.NewStream(ctx, desc, method, opts...)
	return greasedStream{stream}, err
}

type greasedStream struct{ grpc.ClientStream }

func (g greasedStream) SendMsg(m any) error { return g.ClientStream.SendMsg(greaseAny(m)) }

func greaseAny(m any) any {
	message, ok := m.(proto.Message)
	if !ok {
		return m
	}
	message = proto.Clone(message)
	grease(message.ProtoReflect())
	return message
}

// grease adds an unknown field to a message and to all messages in it.
func grease(m protoreflect.Message) {
	m.Range(func(field protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if field.Message() == nil || field.IsMap() {
			return true
		}
		if !field.IsList() {
			grease(v.Message())
			return true
		}
		for i := range v.List().Len() {
			grease(v.List().Get(i).Message())
		}
		return true
	})
	unknown := protowire.AppendTag(m.GetUnknown(), greasedField, protowire.BytesType)
	m.SetUnknown(protowire.AppendBytes(unknown, []byte("a later version would say something here")))
}

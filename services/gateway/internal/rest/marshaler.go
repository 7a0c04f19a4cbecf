package rest

import (
	"fmt"
	"io"
	"reflect"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// encodedAnswer is an answer that is JSON already, which the marshaler returns as it is.
type encodedAnswer []byte

// marshaler encodes and decodes ProtoJSON. It writes unset fields with their defaults, so that an answer always has the
// same members, and rejects fields that the contract does not have.
type marshaler struct{ runtime.JSONPb }

func newMarshaler() *marshaler {
	return &marshaler{runtime.JSONPb{MarshalOptions: protojson.MarshalOptions{EmitDefaultValues: true}}}
}

// Marshal implements runtime.Marshaler. The JSON ends with a line break, as a text file does: a terminal shows the
// prompt on the next line.
func (m *marshaler) Marshal(value any) ([]byte, error) {
	if encoded, ok := value.(encodedAnswer); ok {
		return encoded, nil
	}
	encoded, err := m.JSONPb.Marshal(value)
	return append(encoded, '\n'), err
}

// messageAt returns the message that target is or, where the body is one field of a request, that it points to: a new
// one if it points to none. It returns nil for anything else.
func messageAt(target any) proto.Message {
	if message, ok := target.(proto.Message); ok {
		return message
	}
	field := reflect.ValueOf(target)
	if field.Kind() != reflect.Pointer || field.Elem().Kind() != reflect.Pointer {
		return nil
	}
	if field.Elem().IsNil() {
		field.Elem().Set(reflect.New(field.Elem().Type().Elem()))
	}
	message, _ := reflect.TypeAssert[proto.Message](field.Elem())
	return message
}

// NewDecoder implements runtime.Marshaler, for a request whose body is its call.
func (m *marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(target any) error {
		c, isCall := r.(*call)
		message := messageAt(target)
		if !isCall || message == nil {
			return fmt.Errorf("cannot decode %T into %T", r, target)
		}
		if len(c.body) == 0 {
			return io.EOF // An empty body is an empty message, to the generated handlers too.
		}
		if protojson.Unmarshal(c.body, message) != nil {
			c.bodyError = explain(c.body, message.ProtoReflect().Descriptor())
			return c.bodyError
		}
		return nil
	})
}

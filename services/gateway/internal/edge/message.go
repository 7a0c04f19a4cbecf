package edge

import (
	"context"
	"strings"

	"google.golang.org/grpc/encoding"
	protocodec "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

const (
	// IdempotencyKey is the metadata key, and the HTTP header, that stands for the request id of a call. See
	// docs/adr/0009-http-header-mapping.md.
	IdempotencyKey = "idempotency-key"

	requestIDField protoreflect.Name = "request_id"
)

// Frame is an encoded message.
type Frame []byte

// message is the request of a call, whether it is decoded or not.
type message interface {
	// text returns a string field, or an error if the message is malformed.
	text(field protoreflect.FieldDescriptor) (string, error)
	setText(field protoreflect.FieldDescriptor, value string)
}

// prepareRequest checks and completes the request of a call, and returns what is sent upstream.
func prepareRequest(ctx context.Context, method *Method, request any) (any, error) {
	var target message
	switch typed := request.(type) {
	case *Frame:
		if err := checkMessageNesting(*typed, method.Input, 0); err != nil {
			return nil, err
		}
		raw := &rawRequest{frame: *typed}
		request, target = raw, raw
	case proto.Message:
		target = decoded{typed.ProtoReflect()}
	}
	if target == nil || method.requestID == nil {
		return request, nil
	}
	return request, applyIdempotencyKey(metadata.ValueFromIncomingContext(ctx, IdempotencyKey), target, method.requestID)
}

// applyIdempotencyKey sets the request id of a call to its idempotency key. It reports an error if the request has
// another request id.
func applyIdempotencyKey(keys []string, request message, field protoreflect.FieldDescriptor) error {
	requestID, err := request.text(field)
	if err != nil || len(keys) == 0 {
		return err
	}
	key, err := parseIdempotencyKey(keys)
	switch {
	case err != nil:
		return err
	case requestID == "":
		request.setText(field, key)
	case requestID != key:
		return ErrContradiction(field.Name())
	}
	return nil
}

// ErrContradiction returns the error for a header or metadata that differs from the field which it stands for.
func ErrContradiction(field protoreflect.Name) error {
	return apierr.MalformedRequest("a header contradicts the field "+string(field), nil)
}

// parseIdempotencyKey returns the key, which may be in quotes, as in the IETF's draft of the header.
func parseIdempotencyKey(values []string) (string, error) {
	if len(values) > 1 {
		return "", apierr.MalformedRequest("the header Idempotency-Key appears more than once", nil)
	}
	text := strings.TrimSpace(values[0])
	if inner, quoted := strings.CutPrefix(text, `"`); quoted && strings.HasSuffix(inner, `"`) {
		text = strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(strings.TrimSuffix(inner, `"`))
	}
	if text == "" {
		return "", apierr.MalformedRequest("the header Idempotency-Key is empty", nil)
	}
	return text, nil
}

// decoded is a decoded message.
type decoded struct{ protoreflect.Message }

func (d decoded) text(field protoreflect.FieldDescriptor) (string, error) {
	return d.Get(field).String(), nil
}

func (d decoded) setText(field protoreflect.FieldDescriptor, value string) {
	d.Set(field, protoreflect.ValueOfString(value))
}

// rawRequest is an encoded message that was received from a client. The gateway reads only its request id.
type rawRequest struct {
	frame     Frame
	requestID string
}

// HasRequestID reports whether the message is a change that is made once however often it is sent.
func (r *rawRequest) HasRequestID() bool { return r.requestID != "" }

// text reports an error if the bytes are no message: an appended field could complete them to a message that no check
// has read.
func (r *rawRequest) text(field protoreflect.FieldDescriptor) (string, error) {
	text, ok := stringField(r.frame, field.Number())
	if !ok {
		return "", errNotProtobuf()
	}
	r.requestID = text
	return text, nil
}

func (r *rawRequest) setText(field protoreflect.FieldDescriptor, value string) {
	r.requestID = value
	r.frame = protowire.AppendString(protowire.AppendTag(r.frame, field.Number(), protowire.BytesType), value)
}

// stringField returns a string field of an encoded message as protobuf reads it: the last one if there are several, and
// "" without the field. It reports false if the bytes are no message.
func stringField(message []byte, number protowire.Number) (text string, ok bool) {
	for len(message) > 0 {
		found, wireType, tagSize := protowire.ConsumeTag(message)
		if tagSize < 0 {
			return "", false
		}
		size := protowire.ConsumeFieldValue(found, wireType, message[tagSize:])
		if size < 0 {
			return "", false
		}
		if found == number && wireType == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(message[tagSize:])
			text = string(value)
		}
		message = message[tagSize+size:]
	}
	return text, true
}

// FrameCodec sends and receives frames without decoding them. It leaves all other messages to the codec that it wraps.
type FrameCodec struct{ encoding.CodecV2 }

// Marshal implements encoding.CodecV2.
func (c FrameCodec) Marshal(message any) (mem.BufferSlice, error) {
	switch message := message.(type) {
	case *Frame:
		return mem.BufferSlice{mem.SliceBuffer(*message)}, nil
	case *rawRequest:
		return mem.BufferSlice{mem.SliceBuffer(message.frame)}, nil
	default:
		return c.CodecV2.Marshal(message)
	}
}

// Unmarshal implements encoding.CodecV2.
func (c FrameCodec) Unmarshal(data mem.BufferSlice, message any) error {
	if frame, ok := message.(*Frame); ok {
		*frame = data.Materialize() // A copy: the buffers return to their pool when Unmarshal returns.
		return nil
	}
	return c.CodecV2.Unmarshal(data, message)
}

// Name implements encoding.CodecV2.
func (c FrameCodec) Name() string { return protocodec.Name }

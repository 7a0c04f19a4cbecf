package gateway

import (
	"context"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// rawRequest is the message of a native gRPC call. The gateway passes it on as it is, and knows of its fields only the
// request id, which makes a change one that can be repeated.
type rawRequest struct {
	message   frame
	requestID string
}

// HasRequestID reports whether the message is a change that is made once however often it is sent.
func (r *rawRequest) HasRequestID() bool { return r.requestID != "" }

// newRawRequest returns the request of a message, which has the request id of its field or, as over REST, of
// `idempotency-key` in the metadata. Where the message of the method has no such field, that is ignored.
func newRawRequest(ctx context.Context, message frame, input protoreflect.MessageDescriptor) (*rawRequest, error) {
	field := input.Fields().ByName(requestIDField)
	if field == nil {
		return &rawRequest{message: message}, nil
	}
	requestID, ok := stringField(message, field.Number())
	if !ok { // What is appended could complete it, unseen by the checks before.
		return nil, errNotProtobuf()
	}
	request := &rawRequest{message: message, requestID: requestID}
	keys := metadata.ValueFromIncomingContext(ctx, idempotencyKey)
	if len(keys) == 0 {
		return request, nil
	}
	key, err := readIdempotencyKey(keys)
	switch {
	case err != nil:
		return nil, err
	case request.requestID == "":
		request.requestID = key.String()
		request.message = protowire.AppendString(
			protowire.AppendTag(message, field.Number(), protowire.BytesType), request.requestID)
	case request.requestID != key.String():
		return nil, errHeaderContradicts(requestIDField)
	}
	return request, nil
}

// stringField returns a string field of a message as protobuf reads it: the last one if there are several, and "" if
// there is none. It reports false if the bytes are no message.
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

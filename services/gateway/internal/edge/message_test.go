package edge

import (
	"testing"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

func TestStringField(t *testing.T) {
	const number = 4
	text := func(to []byte, number protowire.Number, value string) []byte {
		return protowire.AppendString(protowire.AppendTag(to, number, protowire.BytesType), value)
	}
	for name, test := range map[string]struct {
		message []byte
		want    string
	}{
		"none":                   {text(nil, 1, "a"), ""},
		"the_last_of_two":        {text(text(nil, number, "a"), number, "b"), "b"},
		"emptied":                {text(text(nil, number, "a"), number, ""), ""},
		"another_wire_type":      {protowire.AppendVarint(protowire.AppendTag(nil, number, protowire.VarintType), 7), ""},
		"within_another":         {text(nil, 1, string(text(nil, number, "a"))), ""},
		"in_a_truncated_message": {append(text(nil, number, "a"), 0x0a, 0x09), ""},
		"after_unknown_ones":     {text(text(nil, 1000, "x"), number, "a"), "a"},
	} {
		t.Run(name, func(t *testing.T) {
			decoded := &gatehousev1.CreateUserRequest{}
			got, ok := stringField(test.message, number)
			if decodes := proto.Unmarshal(test.message, decoded) == nil; got != test.want || ok != decodes {
				t.Errorf("the field is %q, %v, want %q, %v", got, ok, test.want, decodes)
			}
			if err := proto.Unmarshal(test.message, decoded); err == nil && decoded.GetRequestId() != test.want {
				t.Errorf("protobuf reads %q", decoded.GetRequestId())
			}
		})
	}
}

// TestPrepareRequest checks that a message that the request id would complete is rejected. Its fields were not checked
// then, and the store would find no request id in it, by which the gateway repeats the call.
func TestPrepareRequest(t *testing.T) {
	const key = "one"
	complete := protowire.AppendString(protowire.AppendTag(nil, 4, protowire.BytesType), key)
	methods, err := loadMethods(Services(nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	method := methods[gatehousev1.UserService_CreateUser_FullMethodName]
	ctx := metadata.NewIncomingContext(t.Context(), metadata.Pairs(IdempotencyKey, key))
	for name, frame := range map[string]Frame{
		"a_message_that_the_key_would_complete": protowire.AppendVarint(
			protowire.AppendTag(nil, 1, protowire.BytesType), uint64(len(complete))),
		"a_message_that_ends_in_a_tag": {0x80},
	} {
		t.Run(name, func(t *testing.T) {
			if request, err := prepareRequest(ctx, method, &frame); err == nil {
				t.Errorf("%v is sent", request)
			}
		})
	}
	t.Run("frames_and_messages_get_the_same_request_id", func(t *testing.T) {
		frame := Frame{}
		raw, err := prepareRequest(ctx, method, &frame)
		if err != nil {
			t.Fatal(err)
		}
		fromFrame, message := &gatehousev1.CreateUserRequest{}, &gatehousev1.CreateUserRequest{}
		if err := proto.Unmarshal(raw.(*rawRequest).frame, fromFrame); err != nil {
			t.Fatal(err)
		}
		if _, err := prepareRequest(ctx, method, message); err != nil {
			t.Fatal(err)
		}
		if fromFrame.GetRequestId() != key || !proto.Equal(fromFrame, message) {
			t.Errorf("the frame is %v, and the message %v", fromFrame, message)
		}
		for _, request := range []any{raw, message} {
			if !grpcx.IsIdempotent(request) {
				t.Errorf("%T is not repeated", request)
			}
		}
	})
}

package contract

import (
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/field"
)

// maxEncodedMetadata bounds metadata as a protobuf message, in bytes, before any of it is read. No metadata of
// account.MaxMetadata is larger: a number in a list takes 11 bytes there and 2 in JSON; all else is closer.
const maxEncodedMetadata = 6 * account.MaxMetadata

// EncodeMetadata returns metadata as account.EncodeMetadata does.
func EncodeMetadata(metadata *structpb.Struct) (string, *field.Violation) {
	if metadata == nil {
		return "", nil
	}
	if proto.Size(metadata) > maxEncodedMetadata {
		return "", account.MetadataTooLarge()
	}
	return account.EncodeMetadata(structValues(metadata))
}

func structValues(object *structpb.Struct) map[string]any {
	values := make(map[string]any, len(object.GetFields()))
	for name, value := range object.GetFields() {
		values[name] = valueOf(value)
	}
	return values
}

// valueOf returns a value as AsInterface does, except for numbers that JSON does not have: there it returns strings.
func valueOf(value *structpb.Value) any {
	switch kind := value.GetKind().(type) {
	case *structpb.Value_StructValue:
		return structValues(kind.StructValue)
	case *structpb.Value_ListValue:
		values := make([]any, 0, len(kind.ListValue.GetValues()))
		for _, member := range kind.ListValue.GetValues() {
			values = append(values, valueOf(member))
		}
		return values
	case *structpb.Value_NumberValue:
		return kind.NumberValue
	default:
		return value.AsInterface()
	}
}

// DecodeMetadata reads what EncodeMetadata returned.
func DecodeMetadata(encoded string) (*structpb.Struct, error) {
	if encoded == "" {
		return nil, nil //nolint:nilnil // no metadata is no error
	}
	metadata := &structpb.Struct{}
	return metadata, protojson.Unmarshal([]byte(encoded), metadata)
}

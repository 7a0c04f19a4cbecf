package store

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	// maxMetadata bounds a user's metadata, in bytes of JSON without white space.
	maxMetadata = 16 << 10

	// maxMetadataDepth bounds how deep objects and lists are nested, the outermost object included.
	maxMetadataDepth = 16
)

// maxEncodedMetadata bounds metadata as a protobuf message, in bytes, before any of it is read. No metadata of
// maxMetadata is larger: a number in a list takes 11 bytes there and 2 in JSON; all else is closer.
const maxEncodedMetadata = 6 * maxMetadata

// fieldFault is what is wrong with a field, as a rule of the contract: its name, and words.
type fieldFault struct{ rule, words string }

// maxSafeInteger is the greatest integer that a double holds without being what others are rounded to (RFC 8259,
// section 6).
const maxSafeInteger = 1<<53 - 1

// writeMetadata returns the JSON as which metadata is stored: compact, with sorted names, "" for none.
func writeMetadata(metadata *structpb.Struct) (string, *fieldFault) {
	if metadata == nil {
		return "", nil
	}
	if proto.Size(metadata) > maxEncodedMetadata {
		return "", metadataTooLarge()
	}
	if fault := checkValue(structpb.NewStructValue(metadata), maxMetadataDepth); fault != nil {
		return "", fault
	}
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(metadata.AsMap()); err != nil { // Not for what was checked.
		return "", &fieldFault{"METADATA", "must be representable in JSON"}
	}
	written := bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))
	if len(written) > maxMetadata {
		return "", metadataTooLarge()
	}
	return string(written), nil
}

func metadataTooLarge() *fieldFault {
	return &fieldFault{"METADATA_TOO_LARGE", "must be at most 16 KiB as JSON"}
}

// checkValue looks no deeper than depth. Over gRPC there can be numbers that JSON does not have. A number beyond
// maxSafeInteger has arrived as a double, over REST too, and may be another one than was sent.
func checkValue(value *structpb.Value, depth int) *fieldFault {
	var inner []*structpb.Value
	switch kind := value.GetKind().(type) {
	case *structpb.Value_StructValue:
		inner = slices.Collect(maps.Values(kind.StructValue.GetFields()))
	case *structpb.Value_ListValue:
		inner = kind.ListValue.GetValues()
	case *structpb.Value_NumberValue:
		if math.IsNaN(kind.NumberValue) || math.IsInf(kind.NumberValue, 0) {
			return &fieldFault{"METADATA_NUMBER", "must contain only numbers representable in JSON"}
		}
		if math.Abs(kind.NumberValue) > maxSafeInteger {
			return &fieldFault{"METADATA_NUMBER", "must contain only numbers up to ±(2^53-1): send larger ones as strings"}
		}
		return nil
	default:
		return nil
	}
	if depth == 0 {
		return &fieldFault{"METADATA_TOO_DEEP", "must not be nested deeper than 16 levels"}
	}
	for _, member := range inner {
		if fault := checkValue(member, depth-1); fault != nil {
			return fault
		}
	}
	return nil
}

// readMetadata reads what writeMetadata returned.
func readMetadata(written string) (*structpb.Struct, error) {
	if written == "" {
		return nil, nil //nolint:nilnil // no metadata is no error
	}
	metadata := &structpb.Struct{}
	return metadata, protojson.Unmarshal([]byte(written), metadata)
}

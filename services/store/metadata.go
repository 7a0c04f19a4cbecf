package store

import (
	"bytes"
	"encoding/json"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
)

const (
	// maxMetadata bounds a user's metadata, in bytes of JSON without white space.
	maxMetadata = 16 << 10

	// maxMetadataDepth bounds how deep objects and lists are nested, the outermost object included.
	maxMetadataDepth = 16
)

// fieldFault is what is wrong with a field, as a rule of the contract: its name, and words.
type fieldFault struct{ rule, words string }

// writeMetadata gives the JSON under which metadata is kept: compact, with sorted names, "" for none.
func writeMetadata(metadata *structpb.Struct) (string, *fieldFault) {
	if len(metadata.GetFields()) == 0 {
		return "", nil
	}
	if !withinDepth(structpb.NewStructValue(metadata), maxMetadataDepth) {
		return "", &fieldFault{"METADATA_TOO_DEEP", "must not be nested deeper than 16 levels"}
	}
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(metadata.AsMap()); err != nil {
		return "", &fieldFault{"METADATA_NUMBER", "must have numbers that JSON can write"}
	}
	written := bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))
	if len(written) > maxMetadata {
		return "", &fieldFault{"METADATA_TOO_LARGE", "must be at most 16 KiB as JSON"}
	}
	return string(written), nil
}

// withinDepth looks no deeper than depth.
func withinDepth(value *structpb.Value, depth int) bool {
	inner := make([]*structpb.Value, 0)
	switch kind := value.GetKind().(type) {
	case *structpb.Value_StructValue:
		for _, member := range kind.StructValue.GetFields() {
			inner = append(inner, member)
		}
	case *structpb.Value_ListValue:
		inner = kind.ListValue.GetValues()
	default:
		return true
	}
	if depth == 0 {
		return false
	}
	for _, member := range inner {
		if !withinDepth(member, depth-1) {
			return false
		}
	}
	return true
}

// readMetadata reads what writeMetadata gave.
func readMetadata(written string) (*structpb.Struct, error) {
	if written == "" {
		return nil, nil //nolint:nilnil // no metadata is no error
	}
	metadata := &structpb.Struct{}
	return metadata, protojson.Unmarshal([]byte(written), metadata)
}

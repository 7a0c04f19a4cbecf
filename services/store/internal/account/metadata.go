package account

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"slices"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/field"
)

const (
	// MaxMetadata bounds a user's metadata, in bytes of JSON without white space.
	MaxMetadata = 16 << 10

	// maxMetadataDepth bounds how deep objects and lists are nested, the outermost object included.
	maxMetadataDepth = 16

	// maxSafeInteger is the greatest integer that a double holds without being what others are rounded to (RFC 8259,
	// section 6).
	maxSafeInteger = 1<<53 - 1
)

// EncodeMetadata returns the JSON as which metadata is stored: compact, with sorted names, "" for nil. The values are
// those of encoding/json. Over gRPC there can be numbers that JSON does not have. A number beyond maxSafeInteger has
// arrived as a double, over REST too, and may differ from the one that was sent.
func EncodeMetadata(metadata map[string]any) (string, *field.Violation) {
	if metadata == nil {
		return "", nil
	}
	if violation := checkValue(metadata, maxMetadataDepth); violation != nil {
		return "", violation
	}
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(metadata); err != nil { // Not for what was checked.
		return "", &field.Violation{Reason: "METADATA", Description: "must be representable in JSON"}
	}
	encoded := bytes.TrimSuffix(buffer.Bytes(), []byte("\n"))
	if len(encoded) > MaxMetadata {
		return "", MetadataTooLarge()
	}
	return string(encoded), nil
}

// MetadataTooLarge returns the violation of metadata that exceeds MaxMetadata.
func MetadataTooLarge() *field.Violation {
	return &field.Violation{Reason: "METADATA_TOO_LARGE", Description: "must be at most 16 KiB as JSON"}
}

// checkValue checks a value down to a depth.
func checkValue(value any, depth int) *field.Violation {
	var inner []any
	switch value := value.(type) {
	case map[string]any:
		inner = slices.Collect(maps.Values(value))
	case []any:
		inner = value
	case float64:
		return checkNumber(value)
	default:
		return nil
	}
	if depth == 0 {
		return &field.Violation{Reason: "METADATA_TOO_DEEP", Description: "must not be nested deeper than 16 levels"}
	}
	for _, member := range inner {
		if violation := checkValue(member, depth-1); violation != nil {
			return violation
		}
	}
	return nil
}

func checkNumber(number float64) *field.Violation {
	const reason = "METADATA_NUMBER"
	switch {
	case math.IsNaN(number) || math.IsInf(number, 0):
		return &field.Violation{Reason: reason, Description: "must contain only numbers representable in JSON"}
	case math.Abs(number) > maxSafeInteger:
		return &field.Violation{
			Reason:      reason,
			Description: "must contain only numbers up to ±(2^53-1): send larger ones as strings",
		}
	default:
		return nil
	}
}

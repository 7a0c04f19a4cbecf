package fieldrules

import (
	"math"
	"unicode/utf8"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"buf.build/go/protovalidate"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// messageSizes are the bounds of the fields of one message type.
type messageSizes []fieldSize

// fieldSize is the bound of a field, or of the fields of its message.
type fieldSize struct {
	field  protoreflect.FieldDescriptor
	limit  int // bytes of a string or of bytes, entries of a list
	nested messageSizes
}

// newMessageSizes reads the bounds from the rules. A list or map of messages has a bound only for its number of
// entries.
func newMessageSizes(message protoreflect.MessageDescriptor) (messageSizes, error) {
	var sizes messageSizes
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		rules, err := protovalidate.ResolveFieldRules(field)
		if err != nil {
			return nil, err
		}
		size := fieldSize{field: field, limit: limitOf(field, rules)}
		if isNested(field) {
			if size.nested, err = newMessageSizes(field.Message()); err != nil {
				return nil, err
			}
		}
		if size.limit < math.MaxInt || size.nested != nil {
			sizes = append(sizes, size)
		}
	}
	return sizes, nil
}

// isNested reports whether a field is a single message of the contract. Third-party messages have no rules, and may be
// recursive like google.protobuf.Struct.
func isNested(field protoreflect.FieldDescriptor) bool {
	return field.Message() != nil && field.Cardinality() != protoreflect.Repeated &&
		field.Message().ParentFile().Package() == field.ParentFile().Package()
}

// limitOf returns the largest size of a field that its rules accept. A character has at most four bytes.
func limitOf(field protoreflect.FieldDescriptor, rules *validate.FieldRules) int {
	limit := uint64(math.MaxInt)
	switch {
	case field.IsMap():
		if rules.GetMap().HasMaxPairs() {
			limit = rules.GetMap().GetMaxPairs()
		}
	case field.IsList():
		if rules.GetRepeated().HasMaxItems() {
			limit = rules.GetRepeated().GetMaxItems()
		}
	case field.Kind() == protoreflect.StringKind:
		if rules.GetString().HasMaxBytes() {
			limit = rules.GetString().GetMaxBytes()
		}
		if rules.GetString().HasMaxLen() {
			limit = min(limit, rules.GetString().GetMaxLen()*utf8.UTFMax)
		}
	case field.Kind() == protoreflect.BytesKind:
		if rules.GetBytes().HasMaxLen() {
			limit = rules.GetBytes().GetMaxLen()
		}
	}
	return int(min(limit, math.MaxInt))
}

// cut returns the message, or a copy in which each field that is too large is cut to just above its bound, and the
// paths of these fields. It does not modify the message.
func (s messageSizes) cut(message protoreflect.Message, path string) (protoreflect.Message, []string) {
	var paths []string
	result := message
	for _, size := range s {
		if !message.Has(size.field) {
			continue
		}
		value, below := size.cutValue(message, path+string(size.field.Name()))
		if len(below) == 0 {
			continue
		}
		if len(paths) == 0 {
			result = shallowCopy(message)
		}
		result.Set(size.field, value)
		paths = append(paths, below...)
	}
	return result, paths
}

func (s fieldSize) cutValue(message protoreflect.Message, path string) (protoreflect.Value, []string) {
	value := message.Get(s.field)
	if s.nested != nil {
		nested, paths := s.nested.cut(value.Message(), path+".")
		return protoreflect.ValueOfMessage(nested), paths
	}
	switch {
	case s.field.IsMap():
		if value.Map().Len() <= s.limit {
			return value, nil
		}
		first := message.NewField(s.field)
		value.Map().Range(func(key protoreflect.MapKey, entry protoreflect.Value) bool {
			first.Map().Set(key, entry)
			return first.Map().Len() <= s.limit
		})
		return first, []string{path}
	case s.field.IsList():
		if value.List().Len() <= s.limit {
			return value, nil
		}
		first := message.NewField(s.field)
		for i := range s.limit + 1 {
			first.List().Append(value.List().Get(i))
		}
		return first, []string{path}
	case s.field.Kind() == protoreflect.StringKind && len(value.String()) > s.limit:
		return protoreflect.ValueOfString(cutString(value.String(), s.limit)), []string{path}
	case s.field.Kind() == protoreflect.BytesKind && len(value.Bytes()) > s.limit:
		return protoreflect.ValueOfBytes(value.Bytes()[:s.limit+1]), []string{path}
	default:
		return value, nil
	}
}

// cutString cuts a text after the character that exceeds the limit.
func cutString(text string, limit int) string {
	end := limit + 1
	for end < len(text) && !utf8.RuneStart(text[end]) {
		end++
	}
	return text[:end]
}

// shallowCopy returns a copy that shares the values of the fields. Only whole fields of either message may be set.
func shallowCopy(message protoreflect.Message) protoreflect.Message {
	result := message.New()
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		result.Set(field, value)
		return true
	})
	return result
}

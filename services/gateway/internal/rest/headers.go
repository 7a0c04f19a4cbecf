package rest

import (
	"context"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

// The headers of preconditions, and the field that If-Match stands for. docs/adr/0009-http-header-mapping.md has
// the reasons. The edge reads Idempotency-Key, for both transports.
const (
	ifMatch     = "If-Match"
	ifNoneMatch = "If-None-Match"

	versionField protoreflect.Name = "version"
)

// readVersion returns the version that If-Match stands for. It is not valid without that header,
// or if the request of the route has no version.
func (r *route) readVersion(header http.Header) (protoreflect.Value, error) {
	if err := r.checkPreconditions(header); err != nil {
		return protoreflect.Value{}, err
	}
	values := header.Values(ifMatch)
	if len(values) == 0 || r.Input.Fields().ByName(versionField) == nil {
		return protoreflect.Value{}, nil
	}
	return readIfMatch(values)
}

// setVersion sets the version of a request. It reports an error if the request has another version.
func setVersion(request protoreflect.Message, version protoreflect.Value) error {
	field := request.Descriptor().Fields().ByName(versionField)
	if request.Has(field) && !request.Get(field).Equal(version) {
		return edge.ErrContradiction(versionField)
	}
	request.Set(field, version)
	return nil
}

// checkPreconditions reports an error for a precondition that the call cannot check, where ignoring it could overwrite
// a change: on a change of a resource with an entity tag. All others are ignored. Those by date always are, as RFC
// 9110, sections 13.1.3 and 13.1.4, requires of a server that sends no Last-Modified.
func (r *route) checkPreconditions(header http.Header) error {
	takesVersion := r.Input.Fields().ByName(versionField) != nil
	has := func(name string) bool { return strings.Join(header.Values(name), "") != "" }
	switch {
	case r.changesTagged && !takesVersion && has(ifMatch):
		return apierr.MalformedRequest("the method does not support conditional requests: send it without "+ifMatch, nil)
	case (r.changesTagged || takesVersion) && has(ifNoneMatch):
		return apierr.MalformedRequest("unsupported header "+ifNoneMatch+": send "+ifMatch, nil)
	default:
		return nil
	}
}

// entityTags matches one or more entity tags (RFC 9110, sections 8.8.3 and 13.1.1), and ownTag a tag of a version: as
// the gateway sends it, or as rewritten by a proxy that compresses the answer. nginx makes it weak; Apache appends the
// name of the coding.
var (
	entityTags = regexp.MustCompile(`^(W/)?"[\x21\x23-\x7e\x80-\xff]*"([ \t]*,[ \t]*(W/)?"[\x21\x23-\x7e\x80-\xff]*")*$`)
	ownTag     = regexp.MustCompile(`(?:W/)?"([1-9][0-9]*)(?:-gzip|-br)?"`)
)

// readIfMatch returns the version that the tags stand for, or no value for `*`, which any version matches. Tags that
// the gateway does not send match no version.
func readIfMatch(values []string) (protoreflect.Value, error) {
	text := strings.TrimSpace(strings.Join(values, ","))
	if text == "*" {
		return protoreflect.Value{}, nil
	}
	if !entityTags.MatchString(text) {
		return protoreflect.Value{}, apierr.MalformedRequest(`the header If-Match is not an entity tag such as "7"`, nil)
	}
	versions := map[int64]bool{}
	for _, tag := range ownTag.FindAllStringSubmatch(text, -1) {
		if version, err := strconv.ParseInt(tag[1], 10, 64); err == nil {
			versions[version] = true
		}
	}
	switch len(versions) {
	case 0:
		return protoreflect.Value{}, apierr.UnknownEntityTag()
	case 1:
		return protoreflect.ValueOfInt64(slices.Collect(maps.Keys(versions))[0]), nil
	default:
		return protoreflect.Value{}, apierr.MalformedRequest("the header If-Match contains more than one version", nil)
	}
}

func entityTagOf(version int64) string { return `"` + strconv.FormatInt(version, 10) + `"` }

// writeETag sets the entity tag of an answer that consists of one resource to the version of the resource.
func writeETag(_ context.Context, w http.ResponseWriter, answer proto.Message) error {
	reflected := answer.ProtoReflect()
	member := taggedMember(reflected.Descriptor())
	if member == nil || !reflected.Has(member) {
		return nil
	}
	resource := reflected.Get(member).Message()
	w.Header().Set("ETag", entityTagOf(resource.Get(resource.Descriptor().Fields().ByName(versionField)).Int()))
	return nil
}

// taggedMember returns the only member of an answer, if that is a resource with a version, and nil otherwise.
func taggedMember(output protoreflect.MessageDescriptor) protoreflect.FieldDescriptor {
	if output.Fields().Len() != 1 {
		return nil
	}
	member := output.Fields().Get(0)
	if member.Message() == nil || member.IsList() || member.IsMap() {
		return nil
	}
	version := member.Message().Fields().ByName(versionField)
	if version == nil || version.Kind() != protoreflect.Int64Kind {
		return nil
	}
	return member
}

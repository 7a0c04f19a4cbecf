package edge

import (
	"fmt"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// MaxStreams bounds the calls that one HTTP/2 connection may have under way: what browsers and net/http expect. In
// grpc-go they include calls whose answer is not sent, and calls whose handler still runs after a reset
// (CVE-2023-44487).
const MaxStreams = 100

const (
	// MaxHeaderBytes bounds the header fields of a request, in bytes as RFC 9113, section 6.5.2, counts them. It is
	// enough for a token of 8 KiB.
	MaxHeaderBytes = 16 << 10

	// MaxHeaderRead is how much of the header fields of an HTTP/2 request is read, so that one with more than
	// MaxHeaderBytes is refused alone. A request with still more, which proxies do not forward, ends its connection with
	// all requests on it: net/http and grpc-go stop decoding there, and could decode no later header of the connection.
	MaxHeaderRead = 64 << 10

	// FieldOverhead is the size of a header field beyond its name and its value.
	FieldOverhead = 32
)

// CheckHeaderSize returns REQUEST_TOO_LARGE if these header fields, and others of the given size, have more than
// MaxHeaderBytes.
func CheckHeaderSize(fields map[string][]string, others int) error {
	size := others
	for name, values := range fields {
		for _, value := range values {
			size += len(name) + len(value) + FieldOverhead
		}
	}
	if size > MaxHeaderBytes {
		return apierr.RequestTooLarge(fmt.Errorf("the header fields have %d bytes", size))
	}
	return nil
}

const (
	// MaxSmallRequest bounds a request without free-form members, in bytes: a message, or a body of JSON. All that the
	// contract allows in one stays below it, even if each character is escaped in JSON.
	MaxSmallRequest = 16 << 10

	// MaxLargeRequest bounds a request with free-form members, in bytes. A user has two, of 16 KiB of JSON each. Escapes
	// make JSON six times as long, and protobuf nearly as much: it encodes a member `0` of a list in 11 bytes.
	MaxLargeRequest = 256 << 10
)

// FreeForm is the message of JSON objects of any content.
const FreeForm protoreflect.FullName = "google.protobuf.Struct"

// maxRequestSize returns the greatest size of a request of this type, in bytes.
func maxRequestSize(input protoreflect.MessageDescriptor) int64 {
	if reaches(input, FreeForm, map[protoreflect.FullName]bool{}) {
		return MaxLargeRequest
	}
	return MaxSmallRequest
}

// reaches reports whether the message is the target or has a member that is, at any depth.
func reaches(
	message protoreflect.MessageDescriptor, target protoreflect.FullName, visited map[protoreflect.FullName]bool,
) bool {
	if message.FullName() == target {
		return true
	}
	if visited[message.FullName()] {
		return false
	}
	visited[message.FullName()] = true
	for i := range message.Fields().Len() {
		if inner := message.Fields().Get(i).Message(); inner != nil && reaches(inner, target, visited) {
			return true
		}
	}
	return false
}

// CheckRequestSize returns REQUEST_TOO_LARGE if a request is larger than the limit.
func CheckRequestSize(size, limit int64) error {
	if size > limit {
		return apierr.RequestTooLarge(nil)
	}
	return nil
}

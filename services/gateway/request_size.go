package gateway

import (
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

const (
	// maxSmallRequest bounds a request without free-form members, in bytes: a message, or a body of JSON. All that the
	// contract allows in one stays below, also if each character of it is escaped in JSON.
	maxSmallRequest = 16 << 10

	// maxLargeRequest bounds a request with free-form members, in bytes. A user has two, of 16 KiB of JSON each, which
	// escapes make six times as long, and protobuf nearly as much: it writes a member `0` of a list in 11 bytes.
	maxLargeRequest = 256 << 10
)

// freeForm is the message of JSON objects of any content.
const freeForm protoreflect.FullName = "google.protobuf.Struct"

// maxRequestSize returns the greatest size of a request of this type, in bytes.
func maxRequestSize(input protoreflect.MessageDescriptor) int64 {
	if reaches(input, freeForm, map[protoreflect.FullName]bool{}) {
		return maxLargeRequest
	}
	return maxSmallRequest
}

// reaches reports whether the message is the target or has, however deeply nested, a member that is.
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

// checkRequestSize fails with REQUEST_TOO_LARGE if a request is larger than it may be.
func checkRequestSize(size, limit int64) error {
	if size > limit {
		return apierr.RequestTooLarge(nil)
	}
	return nil
}

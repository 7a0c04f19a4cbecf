package apierr

import (
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// A status travels in the trailers of a gRPC call: as grpc-status-details-bin, which is base64, and its message a
// second time as grpc-message, which is percent-encoded. Many clients accept 8 KiB of header fields, as gRPC's
// implementations in C++ and Java do by default, and reset the stream beyond that. 4/3 × maxStatusSize +
// 3 × maxMessage stays below.
const (
	// maxStatusSize bounds an encoded google.rpc.Status with its details, in bytes.
	maxStatusSize = 4 << 10

	// maxMessage bounds the message of a status, in bytes.
	maxMessage = 256

	// maxViolations bounds the violations in an error. A caller that corrects them receives the next ones.
	maxViolations = 16

	// maxField, maxDescription and maxReason bound the texts of a violation, in bytes. A field path may contain names
	// chosen by the caller.
	maxField       = 128
	maxDescription = 256
	maxReason      = 64

	// maxViolationsSize bounds all violations together, in bytes. The rest of maxStatusSize is for the other details.
	maxViolationsSize = 3 << 10

	// detailOverhead bounds the size of a detail's tag and length, in bytes.
	detailOverhead = 4

	// maxLogText bounds the text of an error in the log, in bytes. It leaves room for the stack of a panic.
	maxLogText = 8 << 10
)

// LogText returns the text of an error for the log, bounded. It includes the cause, which may quote client input.
func LogText(err error) string { return truncate(err.Error(), maxLogText) }

// boundViolations returns as many of the first violations as fit, with their texts cut.
func boundViolations(all []*errdetails.BadRequest_FieldViolation) []*errdetails.BadRequest_FieldViolation {
	kept := make([]*errdetails.BadRequest_FieldViolation, 0, min(len(all), maxViolations))
	size := 0
	for _, violation := range all[:min(len(all), maxViolations)] {
		cut := &errdetails.BadRequest_FieldViolation{
			Field:       truncate(violation.GetField(), maxField),
			Description: truncate(violation.GetDescription(), maxDescription),
			Reason:      truncate(violation.GetReason(), maxReason),
		}
		size += proto.Size(cut)
		if size > maxViolationsSize {
			break
		}
		kept = append(kept, cut)
	}
	return kept
}

// boundStatus returns st, or as much of it as fits into maxStatusSize, starting with the ErrorInfo. Statuses made by
// this package fit; one from another service, perhaps of another version, need not.
func boundStatus(st *status.Status) *status.Status {
	whole := st.Proto()
	if proto.Size(whole) <= maxStatusSize && len(whole.GetMessage()) <= maxMessage {
		return st
	}
	bounded := &spb.Status{Code: whole.GetCode(), Message: truncate(whole.GetMessage(), maxMessage)}
	for _, first := range []bool{true, false} {
		for _, detail := range whole.GetDetails() {
			if detail.MessageIs((*errdetails.ErrorInfo)(nil)) != first {
				continue
			}
			if proto.Size(bounded)+proto.Size(detail)+detailOverhead <= maxStatusSize {
				bounded.Details = append(bounded.Details, detail)
			}
		}
	}
	return status.FromProto(bounded)
}

// truncate cuts a text between characters: a partial character is not valid UTF-8 in a message.
func truncate(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	const ellipsis = "…"
	return strings.ToValidUTF8(text[:limit-len(ellipsis)], "") + ellipsis
}

package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// errorRef is the reference of operations to the error response.
const errorRef = "#/components/responses/Error"

// base is the part of the document that does not follow from the contract: the head, the authentication scheme, and the
// error response with its schemas, which list the messages that Gatehouse puts into each google.protobuf.Any.
//
//go:embed base.json
var base []byte

// addBase adds the base to a document.
func addBase(doc *document) error {
	var with document
	if err := decode(base, &with); err != nil {
		return fmt.Errorf("read base.json: %w", err)
	}
	doc.Info, doc.Servers, doc.Components.SecuritySchemes = with.Info, with.Servers, with.Components.SecuritySchemes
	doc.Components.Responses = with.Components.Responses
	maps.Copy(doc.Components.Schemas, with.Components.Schemas)
	if err := addReasons(doc.Components.Schemas["google.rpc.ErrorInfo"]); err != nil {
		return err
	}
	return addErrorExamples(doc.Components.Responses["Error"])
}

// canonicalCode matches the codes in a description, as in `NOT_FOUND` / `USER_NOT_FOUND`.
var canonicalCode = regexp.MustCompile("`([A-Z_]+)` / `[A-Z_]+`")

// addErrors adds the error statuses that a client can handle: those that follow from the kind of the operation, and
// those in its description. All errors, including those of other statuses, have the same schema.
func addErrors(op *operation, method protoreflect.MethodDescriptor) error {
	statuses := []int{http.StatusBadRequest, http.StatusTooManyRequests, http.StatusServiceUnavailable}
	if len(op.Security) > 0 {
		statuses = append(statuses, http.StatusUnauthorized)
	}
	if policyOf(method) == gatehousev1.Policy_POLICY_ADMIN {
		statuses = append(statuses, http.StatusForbidden)
	}
	if slices.ContainsFunc(op.Parameters, func(p *parameter) bool { return p.In == inPath }) {
		statuses = append(statuses, http.StatusNotFound)
	}
	if op.RequestBody != nil {
		statuses = append(statuses, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if method.Input().Fields().ByName("version") != nil {
		statuses = append(statuses, http.StatusConflict, http.StatusPreconditionFailed)
	}
	for _, named := range canonicalCode.FindAllStringSubmatch(string(op.Description), -1) {
		var code codes.Code
		if err := code.UnmarshalJSON([]byte(`"` + named[1] + `"`)); err != nil {
			return fmt.Errorf("the description names the code %s: %w", named[1], err)
		}
		statuses = append(statuses, runtime.HTTPStatusFromCode(code))
	}
	for _, status := range statuses {
		op.Responses[strconv.Itoa(status)] = &response{Ref: errorRef}
	}
	op.Responses["default"] = &response{Ref: errorRef}
	return nil
}

// addReasons lists the reasons of the contract. They are examples rather than an enum, so that clients generated from
// this document accept reasons of later versions.
func addReasons(info *schema) error {
	reason, ok := info.Properties.get("reason")
	if !ok {
		return errors.New("google.rpc.ErrorInfo has no reason")
	}
	values := gatehousev1.ErrorReason(0).Descriptor().Values()
	for i := 1; i < values.Len(); i++ { // The first value is unspecified.
		name := apierr.ReasonName(gatehousev1.ErrorReason(values.Get(i).Number()))
		reason.Examples = append(reason.Examples, json.RawMessage(strconv.Quote(name)))
	}
	return nil
}

// addErrorExamples adds an example of each form of an error.
func addErrorExamples(failure *response) error {
	invalid := apierr.InvalidFields([]*errdetails.BadRequest_FieldViolation{{
		Field: "password", Description: "must be at least 8 characters", Reason: "STRING_MIN_LEN",
	}})
	examples := map[string]*example{}
	for summary, failed := range map[string]*apierr.Error{
		"A field violates a rule":           invalid,
		"The e-mail address has an account": apierr.EmailTaken(),
		"The access token is missing":       apierr.AccessTokenMissing(),
		"The service is overloaded":         apierr.Overloaded(time.Second),
	} {
		body, err := protojson.Marshal(failed.GRPCStatus().Proto())
		if err != nil {
			return fmt.Errorf("example of %v: %w", failed.Reason(), err)
		}
		examples[apierr.ReasonName(failed.Reason())] = &example{Summary: summary, Value: body}
	}
	failure.Content[jsonType].Examples = examples
	return nil
}

package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
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

// errorRef is how operations refer to the answer to every failure.
const errorRef = "#/components/responses/Error"

// base is the part of the document that does not follow from the contract: its head, how to authenticate, and the
// answer to every failure with its schemas. A google.protobuf.Any could hold anything; here stands what Gatehouse puts
// in it.
//
//go:embed base.json
var base []byte

// addBase adds base to a document.
func addBase(doc *document) error {
	var with document
	if err := decode(base, &with); err != nil {
		return fmt.Errorf("read base.json: %w", err)
	}
	doc.Info, doc.Servers, doc.Components.SecuritySchemes = with.Info, with.Servers, with.Components.SecuritySchemes
	added := with.Components
	if err := completeReasons(added.Schemas); err != nil {
		return err
	}
	for _, m := range added.Schemas {
		doc.Components.Schemas.set(m.name, m.value)
	}
	for _, m := range added.Responses {
		if err := addErrorExamples(m.value); err != nil {
			return err
		}
		doc.Components.Responses.set(m.name, m.value)
	}
	return nil
}

// canonicalCode finds the codes that a description names, as in `NOT_FOUND` / `USER_NOT_FOUND`.
var canonicalCode = regexp.MustCompile("`([A-Z_]+)` / `[A-Z_]+`")

// addErrors lists the statuses of errors that clients can do something about: those that follow from the kind of the
// operation, and those that its description names. They all have the same schema, and so does every other status.
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
		op.Responses.set(strconv.Itoa(status), &response{Ref: errorRef})
	}
	op.Responses.set("default", &response{Ref: errorRef})
	op.Responses.sortByName() // What is hoped for comes before what else may happen.
	return nil
}

// completeReasons lists the reasons of the contract. They are examples and no enum: a client that was generated before
// a reason came must be able to read an error with it.
func completeReasons(schemas ordered[*schema]) error {
	info, _ := schemas.get("google.rpc.ErrorInfo")
	if info == nil {
		return errors.New("base.json has no google.rpc.ErrorInfo")
	}
	reason, ok := info.Properties.get("reason")
	if !ok {
		return errors.New("google.rpc.ErrorInfo has no reason")
	}
	values := gatehousev1.ErrorReason(0).Descriptor().Values()
	for i := range values.Len() {
		value := gatehousev1.ErrorReason(values.Get(i).Number())
		if value == gatehousev1.ErrorReason_ERROR_REASON_UNSPECIFIED {
			continue // Never sent.
		}
		name, err := encode(apierr.ReasonName(value))
		if err != nil {
			return err
		}
		reason.Examples = append(reason.Examples, name)
	}
	return nil
}

func addErrorExamples(failure *response) error {
	media, ok := failure.Content.get(jsonType)
	if !ok {
		return fmt.Errorf("the error response has no %s", jsonType)
	}
	invalid := apierr.InvalidFields([]*errdetails.BadRequest_FieldViolation{{
		Field: "password", Description: "must be at least 8 characters", Reason: "STRING_MIN_LEN",
	}})
	for _, failed := range []struct {
		summary string
		err     *apierr.Error
	}{
		{"A field violates a rule", invalid},
		{"The e-mail address has an account", apierr.EmailTaken()},
		{"The access token is missing", apierr.AccessTokenMissing()},
		{"The service is overloaded", apierr.Overloaded(time.Second)},
	} {
		body, err := protojson.Marshal(failed.err.GRPCStatus().Proto())
		if err != nil {
			return fmt.Errorf("example of %v: %w", failed.err.Reason(), err)
		}
		media.Examples.set(apierr.ReasonName(failed.err.Reason()),
			&example{Summary: failed.summary, Value: json.RawMessage(body)})
	}
	return nil
}

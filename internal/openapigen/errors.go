package main

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/encoding/protojson"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// errorComponents are the answer to every failure and its schemas. A google.protobuf.Any could hold anything; here
// stands what Gatehouse puts in it.
//
//go:embed errors.json
var errorComponents []byte

func completeErrors(doc *document) error {
	var added components
	if err := decode(errorComponents, &added); err != nil {
		return fmt.Errorf("read errors.json: %w", err)
	}
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
	for _, path := range doc.Paths {
		for _, op := range path.value.operations() {
			op.Responses.set("default", &response{Ref: "#/components/responses/Error"})
			op.Responses.sortByName() // What is hoped for comes before what else may happen.
		}
	}
	return nil
}

// completeReasons lists the reasons of the contract.
func completeReasons(schemas ordered[*schema]) error {
	info, _ := schemas.get("google.rpc.ErrorInfo")
	if info == nil {
		return errors.New("errors.json has no google.rpc.ErrorInfo")
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
		reason.Enum = append(reason.Enum, name)
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
		{"A field that breaks a rule", invalid},
		{"An address that has an account", apierr.EmailTaken()},
		{"A call without a token", apierr.AccessTokenMissing()},
		{"A failure that may pass", apierr.Overloaded(time.Second)},
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

package rpc

import (
	"context"
	"slices"
	_ "time/tzdata" // There are zones on every machine.

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/contract"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/field"
)

// profileEdit is what an update requests, checked: the fields to change, and a user who has their new values.
type profileEdit struct {
	fields []string
	values account.User
}

// newProfileEdit checks what the rules of the contract cannot express. It returns INVALID_FIELDS with every violation.
func (s *userService) newProfileEdit(ctx context.Context, req *gatehousev1.UpdateUserRequest) (profileEdit, error) {
	edit := profileEdit{fields: editedFields(req)}
	var found []field.Violation
	for _, name := range edit.fields {
		if name == "app_metadata" && !authn.IsAdmin(ctx) {
			return edit, apierr.RoleRequired()
		}
		if violation := s.setField(&edit.values, req.GetUser(), name); violation != nil {
			found = append(found, *violation)
		}
	}
	return edit, invalidFields(found...)
}

// editedFields returns those of the mask or, without one, those that are set, each once: a mask may name the largest
// field 16 times. The id, which names the user, and fields that are output only are left out: clients send them back as
// they were read (AIP-203).
func editedFields(req *gatehousev1.UpdateUserRequest) []string {
	var fields []string
	add := func(name string) {
		if !isOutputOnly(name) && !slices.Contains(fields, name) {
			fields = append(fields, name)
		}
	}
	if paths := req.GetUpdateMask().GetPaths(); len(paths) > 0 {
		for _, path := range paths {
			add(path)
		}
		return fields
	}
	req.GetUser().ProtoReflect().Range(func(field protoreflect.FieldDescriptor, _ protoreflect.Value) bool {
		add(field.TextName())
		return true
	})
	return fields
}

// isOutputOnly reports whether a user has a field of this name that only the service sets.
func isOutputOnly(name string) bool {
	field := (&gatehousev1.User{}).ProtoReflect().Descriptor().Fields().ByName(protoreflect.Name(name))
	if field == nil {
		return false
	}
	behaviors, _ := proto.GetExtension(field.Options(), annotations.E_FieldBehavior).([]annotations.FieldBehavior)
	return slices.Contains(behaviors, annotations.FieldBehavior_OUTPUT_ONLY) ||
		slices.Contains(behaviors, annotations.FieldBehavior_IDENTIFIER)
}

// setField sets a field of values to its new value, or returns what is wrong with that.
func (s *userService) setField(values *account.User, from *gatehousev1.User, name string) *field.Violation {
	var violation *field.Violation
	switch name {
	case "full_name":
		values.FullName = account.DisplayName(from.GetFullName())
		if values.FullName == "" {
			violation = &field.Violation{Reason: "REQUIRED", Description: "must not be empty"}
		}
	case "locale":
		values.Locale = from.GetLocale()
	case "time_zone":
		values.TimeZone = from.GetTimeZone()
		violation = account.CheckTimeZone(values.TimeZone)
	case "picture_uri":
		values.PictureURI = from.GetPictureUri()
	case "metadata":
		values.Metadata, violation = contract.EncodeMetadata(from.GetMetadata())
	case "app_metadata":
		values.AppMetadata, violation = contract.EncodeMetadata(from.GetAppMetadata())
		if violation == nil {
			violation = s.checkClaims(values.AppMetadata)
		}
	default:
		return &field.Violation{
			Field: "update_mask", Reason: "UPDATE_MASK_FIELD", Description: "contains an unknown field; allowed are " +
				"full_name, locale, time_zone, picture_uri, metadata and app_metadata",
		}
	}
	if violation != nil {
		violation.Field = "user." + name
	}
	return violation
}

// checkClaims rejects app metadata that has too much for access tokens.
func (s *userService) checkClaims(appMetadata string) *field.Violation {
	if _, err := s.Claims.Select(appMetadata); err != nil {
		return &field.Violation{
			Reason: "APP_METADATA_CLAIMS_TOO_LARGE", Description: "what goes into access tokens must be at most 2 KiB as JSON",
		}
	}
	return nil
}

// applied returns a user with the new values.
func (e profileEdit) applied(user account.User) account.User {
	for _, field := range e.fields {
		switch field {
		case "full_name":
			user.FullName = e.values.FullName
		case "locale":
			user.Locale = e.values.Locale
		case "time_zone":
			user.TimeZone = e.values.TimeZone
		case "picture_uri":
			user.PictureURI = e.values.PictureURI
		case "metadata":
			user.Metadata = e.values.Metadata
		case "app_metadata":
			user.AppMetadata = e.values.AppMetadata
		}
	}
	return user
}

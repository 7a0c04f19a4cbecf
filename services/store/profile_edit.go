package store

import (
	"context"
	"path"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // There are zones on every machine.

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

// profileEdit is what an update asks for, checked: the fields to change, and a user who has their new values.
type profileEdit struct {
	fields []string
	values account.User
}

// newProfileEdit checks what the rules of the contract cannot say. It names every fault.
func (s *userService) newProfileEdit(ctx context.Context, req *gatehousev1.UpdateUserRequest) (profileEdit, error) {
	edit := profileEdit{fields: editedFields(req)}
	var faults []*errdetails.BadRequest_FieldViolation
	for _, field := range edit.fields {
		if field == "app_metadata" && !authn.IsAdmin(ctx) {
			return edit, apierr.RoleRequired()
		}
		if fault := s.take(&edit.values, req.GetUser(), field); fault != nil {
			faults = append(faults, fault)
		}
	}
	if len(faults) > 0 {
		return edit, apierr.InvalidFields(faults)
	}
	return edit, nil
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

// take gives values a field's new value, or says what is wrong with it.
func (s *userService) take(
	values *account.User, from *gatehousev1.User, field string,
) *errdetails.BadRequest_FieldViolation {
	var fault *fieldFault
	switch field {
	case "full_name":
		values.FullName = displayName(from.GetFullName())
		if values.FullName == "" {
			fault = &fieldFault{"REQUIRED", "must not be empty"}
		}
	case "locale":
		values.Locale = from.GetLocale()
	case "time_zone":
		values.TimeZone = from.GetTimeZone()
		fault = checkTimeZone(values.TimeZone)
	case "picture_uri":
		values.PictureURI = from.GetPictureUri()
	case "metadata":
		values.Metadata, fault = writeMetadata(from.GetMetadata())
	case "app_metadata":
		values.AppMetadata, fault = writeMetadata(from.GetAppMetadata())
		if fault == nil {
			fault = s.claims.fault(values.AppMetadata)
		}
	default:
		return &errdetails.BadRequest_FieldViolation{
			Field: "update_mask", Reason: "UPDATE_MASK_FIELD", Description: "contains an unknown field; allowed are " +
				"full_name, locale, time_zone, picture_uri, metadata and app_metadata",
		}
	}
	if fault == nil {
		return nil
	}
	return &errdetails.BadRequest_FieldViolation{Field: "user." + field, Reason: fault.rule, Description: fault.words}
}

// checkTimeZone wants a name of the IANA database, or "". What a machine has beside that, under names of its own,
// others do not know: the zone of the machine, and the whole database in two other ways of counting leap seconds.
func checkTimeZone(name string) *fieldFault {
	_, err := time.LoadLocation(name)
	own := slices.Contains([]string{"Local", "localtime", "posixrules", "Factory"}, name) ||
		name != "" && path.Clean(name) != name || // Europe//London is the path of a file, and no name.
		strings.HasPrefix(name, "right/") || strings.HasPrefix(name, "posix/")
	if err != nil || own {
		return &fieldFault{"TIME_ZONE", "must be a time zone of the IANA database such as Europe/London"}
	}
	return nil
}

// applied is a user with the new values.
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

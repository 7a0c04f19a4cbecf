package transfer

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/contract"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/field"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
)

// The reasons for which an import rejects a line.
const (
	reasonBrokenJSON    = "BROKEN_JSON"
	reasonLineTooLong   = "LINE_TOO_LONG"
	reasonInvalidField  = "INVALID_FIELD"
	reasonEmailTaken    = "EMAIL_TAKEN"
	reasonIDTaken       = "ID_TAKEN"
	reasonHashUnknown   = "HASH_UNKNOWN"
	reasonHashPeppered  = "HASH_PEPPERED"
	reasonHashMalformed = "HASH_MALFORMED"
	reasonHashTooCostly = "HASH_TOO_COSTLY"
)

// maxVersion is a number that every JSON reader has, and leaves room to grow: the cache ranks versions up to 2^51.
const maxVersion = 1 << 50

// checker reads lines by the rules of the contract.
type checker struct {
	rules     *contract.Rules
	maxMemory int64 // bytes that verifying a hash may take
}

// read returns the user of a line, or why the line is rejected. It reports an error if a rule itself is wrong.
func (c checker) read(line []byte, now time.Time) (account.UserWithHash, *Rejection, error) {
	if !utf8.Valid(line) {
		return account.UserWithHash{}, &Rejection{Reason: reasonBrokenJSON, Description: malformedLine}, nil
	}
	record, found, complete := readUserRecord(line)
	ofContract, err := c.checkContract(record)
	if err != nil {
		return account.UserWithHash{}, nil, err
	}
	rejected := &Rejection{Email: record.Email}
	if slices.ContainsFunc(ofContract, func(v field.Violation) bool { return v.Field == "email" }) {
		rejected.Email = ""
	}
	if !complete {
		rejected.Reason, rejected.Description = reasonBrokenJSON, malformedLine
		return account.UserWithHash{}, rejected, nil
	}
	user, more := newUserOf(record, now)
	found = slices.Concat(found, ofContract, more)
	rejected.Reason, rejected.Description = checkHash(record.PasswordHash, c.maxMemory)
	if rejected.Reason != "" {
		found = append(found, field.Violation{Field: "passwordHash", Description: rejected.Description})
	}
	if len(found) == 0 {
		return user, nil, nil
	}
	if len(found) > 1 || rejected.Reason == "" {
		rejected.Reason = reasonInvalidField
	}
	descriptions := make([]string, 0, len(found))
	for _, violation := range found {
		descriptions = append(descriptions, violation.Error())
	}
	rejected.Description = strings.Join(descriptions, "; ")
	return account.UserWithHash{}, rejected, nil
}

// checkContract checks what has a rule in the contract. Its fields are named as in JSON.
func (c checker) checkContract(record UserRecord) ([]field.Violation, error) {
	signUp, err := c.rules.CheckSignUp(record.Email, record.FullName, contract.AnyPassword)
	if err != nil {
		return nil, err
	}
	profile, err := c.rules.CheckProfile(record.Locale, record.TimeZone, record.PictureURI)
	found := slices.Concat(signUp, profile)
	for i := range found {
		found[i].Field = contract.JSONName(found[i].Field)
	}
	return found, err
}

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// newUserOf returns the user of a record, and the violations of what the contract has no rule for.
func newUserOf(record UserRecord, now time.Time) (account.UserWithHash, []field.Violation) {
	user := account.User{
		ID: strings.ToLower(record.ID), Email: emailaddr.Display(record.Email),
		FullName: account.DisplayName(record.FullName), Locale: record.Locale, TimeZone: record.TimeZone,
		PictureURI: record.PictureURI, State: account.Active, Version: 1,
	}
	var found []field.Violation
	check := func(name string, violation *field.Violation) {
		if violation != nil {
			violation.Field = name
			found = append(found, *violation)
		}
	}
	if record.ID == "" {
		user.ID = uuid.Must(uuid.NewV7()).String()
	} else if !uuidForm.MatchString(record.ID) {
		check("id", &field.Violation{Description: "must be a UUID"})
	}
	check("timeZone", account.CheckTimeZone(record.TimeZone))
	var violation *field.Violation
	user.Metadata, violation = readMetadata(record.Metadata)
	check("metadata", violation)
	user.AppMetadata, violation = readMetadata(record.AppMetadata)
	check("appMetadata", violation)
	for _, role := range record.Roles {
		user.Admin = user.Admin || role == account.RoleAdmin
		if role != account.RoleAdmin && role != account.RoleUser {
			check("roles", &field.Violation{Description: "must contain only user and admin"})
		}
	}
	// As an export writes it, or as REST does.
	switch state := account.UserState(strings.TrimPrefix(record.State, "USER_STATE_")); state {
	case "", account.Active, account.Disabled:
		user.State = cmp.Or(state, account.Active)
	default:
		check("state", &field.Violation{Description: "must be ACTIVE or DISABLED"})
	}
	found = append(found, applyHistory(&user, record, now)...)
	return account.UserWithHash{User: user, PasswordHash: record.PasswordHash}, found
}

// applyHistory sets the times and the version of a user to those of a record. Those that it lacks are of a new user.
func applyHistory(user *account.User, record UserRecord, now time.Time) []field.Violation {
	const description = "must be an RFC 3339 time in the years 1970 to 9999"
	var found []field.Violation
	var valid bool
	if user.CreateTime, valid = readRecordTime(record.CreateTime, now); !valid {
		found = append(found, field.Violation{Field: "createTime", Description: description})
	}
	user.UpdateTime, valid = readRecordTime(record.UpdateTime, user.CreateTime)
	switch {
	case !valid:
		found = append(found, field.Violation{Field: "updateTime", Description: description})
	case len(found) == 0 && user.UpdateTime.Before(user.CreateTime):
		found = append(found, field.Violation{Field: "updateTime", Description: "must not be before createTime"})
	}
	if record.Version == "" {
		return found
	}
	version, err := strconv.ParseInt(record.Version.String(), 10, 64)
	if err != nil || version < 1 || version > maxVersion {
		found = append(found, field.Violation{
			Field: "version", Description: fmt.Sprintf("must be 1 to %d", int64(maxVersion)),
		})
	}
	user.Version = version
	return found
}

// readMetadata returns metadata as it is stored.
func readMetadata(raw json.RawMessage) (string, *field.Violation) {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return "", nil
	}
	metadata := &structpb.Struct{}
	if protojson.Unmarshal(raw, metadata) != nil { // Its text quotes the value.
		return "", &field.Violation{Description: "must be a JSON object without duplicate names"}
	}
	return contract.EncodeMetadata(metadata)
}

// checkHash returns the reason to reject a hash and a description without it, or two empty strings.
func checkHash(hash string, maxMemory int64) (reason, description string) {
	if hash == "" {
		return "", ""
	}
	err := password.Check(hash, maxMemory)
	switch {
	case err == nil:
		return "", ""
	case errors.Is(err, password.ErrHashTooCostly):
		return reasonHashTooCostly, err.Error()
	case errors.Is(err, password.ErrHashPeppered):
		return reasonHashPeppered, err.Error()
	case errors.Is(err, password.ErrHashMalformed):
		return reasonHashMalformed, err.Error()
	default:
		return reasonHashUnknown, err.Error()
	}
}

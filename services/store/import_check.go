package store

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

	"buf.build/go/protovalidate"
	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
)

// The reasons for which an import refuses a line.
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

// refusal is a line of the report. It holds no value of the line but the e-mail address.
type refusal struct {
	Line        int64  `json:"line"`
	Email       string `json:"email,omitempty"` // if the line has one that is an address
	Reason      string `json:"reason"`
	Description string `json:"description"`
}

// recordChecker reads lines by the rules of the contract.
type recordChecker struct {
	validator protovalidate.Validator
	maxMemory int64 // bytes that verifying a hash may take
}

// read makes a user of a line, or tells why not. An error is a fault of the rules themselves.
func (c recordChecker) read(line []byte, now time.Time) (account.UserWithHash, *refusal, error) {
	if !utf8.Valid(line) {
		return account.UserWithHash{}, &refusal{Reason: reasonBrokenJSON, Description: brokenWords}, nil
	}
	record, faults, whole := readUserRecord(line)
	ofContract, err := c.contractFaults(record)
	if err != nil {
		return account.UserWithHash{}, nil, err
	}
	refused := &refusal{Email: record.Email}
	for _, fault := range ofContract {
		if fault.field == "email" {
			refused.Email = ""
		}
	}
	if !whole {
		refused.Reason, refused.Description = reasonBrokenJSON, brokenWords
		return account.UserWithHash{}, refused, nil
	}
	user, moreFaults := newUserOf(record, now)
	faults = slices.Concat(faults, ofContract, moreFaults)
	refused.Reason, refused.Description = hashFault(record.PasswordHash, c.maxMemory)
	if refused.Reason != "" {
		faults = append(faults, fieldError{"passwordHash", refused.Description})
	}
	if len(faults) == 0 {
		return user, nil, nil
	}
	if len(faults) > 1 || refused.Reason == "" {
		refused.Reason = reasonInvalidField
	}
	words := make([]string, 0, len(faults))
	for _, fault := range faults {
		words = append(words, fault.Error())
	}
	refused.Description = strings.Join(words, "; ")
	return account.UserWithHash{}, refused, nil
}

// contractFaults checks what has a rule in the contract. Its fields are named as in JSON.
func (c recordChecker) contractFaults(record userRecord) ([]fieldError, error) {
	signUp, err := signUpViolations(c.validator, &gatehousev1.CreateUserRequest{
		Email: record.Email, FullName: record.FullName, Password: anyPassword,
	})
	if err != nil {
		return nil, err
	}
	profile, err := violations(c.validator, &gatehousev1.User{
		Locale: record.Locale, TimeZone: record.TimeZone, PictureUri: record.PictureURI,
	})
	faults := slices.Concat(signUp, profile)
	fields := (&gatehousev1.User{}).ProtoReflect().Descriptor().Fields()
	for i, fault := range faults {
		for j := range fields.Len() {
			if fields.Get(j).TextName() == fault.field {
				faults[i].field = fields.Get(j).JSONName()
			}
		}
	}
	return faults, err
}

var uuidForm = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// newUserOf makes a user of what the contract has no rule for, and tells what is wrong with that.
func newUserOf(record userRecord, now time.Time) (account.UserWithHash, []fieldError) {
	user := account.User{
		ID: strings.ToLower(record.ID), Email: emailaddr.Display(record.Email), FullName: displayName(record.FullName),
		Locale: record.Locale, TimeZone: record.TimeZone, PictureURI: record.PictureURI, State: account.Active, Version: 1,
	}
	var faults []fieldError
	refuse := func(field, words string) { faults = append(faults, fieldError{field, words}) }
	if record.ID == "" {
		user.ID = uuid.Must(uuid.NewV7()).String()
	} else if !uuidForm.MatchString(record.ID) {
		refuse("id", "must be a UUID")
	}
	if fault := checkTimeZone(record.TimeZone); fault != nil {
		refuse("timeZone", fault.words)
	}
	var words string
	if user.Metadata, words = recordMetadata(record.Metadata); words != "" {
		refuse("metadata", words)
	}
	if user.AppMetadata, words = recordMetadata(record.AppMetadata); words != "" {
		refuse("appMetadata", words)
	}
	for _, role := range record.Roles {
		user.Admin = user.Admin || role == authn.RoleAdmin
		if role != authn.RoleAdmin && role != authn.RoleUser {
			refuse("roles", "must contain only user and admin")
		}
	}
	// As an export writes it, or as REST does.
	switch state := account.UserState(strings.TrimPrefix(record.State, "USER_STATE_")); state {
	case "", account.Active, account.Disabled:
		user.State = cmp.Or(state, account.Active)
	default:
		refuse("state", "must be ACTIVE or DISABLED")
	}
	faults = append(faults, takeHistory(&user, record, now)...)
	return account.UserWithHash{User: user, PasswordHash: record.PasswordHash}, faults
}

// takeHistory gives a user the times and the version of a record, or those of one who is made now.
func takeHistory(user *account.User, record userRecord, now time.Time) []fieldError {
	const words = "must be an RFC 3339 time in the years 1970 to 9999"
	var faults []fieldError
	var good bool
	if user.CreateTime, good = readRecordTime(record.CreateTime, now); !good {
		faults = append(faults, fieldError{"createTime", words})
	}
	user.UpdateTime, good = readRecordTime(record.UpdateTime, user.CreateTime)
	switch {
	case !good:
		faults = append(faults, fieldError{"updateTime", words})
	case len(faults) == 0 && user.UpdateTime.Before(user.CreateTime):
		faults = append(faults, fieldError{"updateTime", "must not be before createTime"})
	}
	if record.Version == "" {
		return faults
	}
	version, err := strconv.ParseInt(record.Version.String(), 10, 64)
	if err != nil || version < 1 || version > maxVersion {
		faults = append(faults, fieldError{"version", fmt.Sprintf("must be 1 to %d", int64(maxVersion))})
	}
	user.Version = version
	return faults
}

// recordMetadata gives metadata as it is kept, or tells what is wrong with it.
func recordMetadata(raw json.RawMessage) (written, words string) {
	if len(raw) == 0 || bytes.Equal(raw, []byte("null")) {
		return "", ""
	}
	metadata := &structpb.Struct{}
	if protojson.Unmarshal(raw, metadata) != nil { // Whose words quote the value.
		return "", "must be a JSON object without duplicate names"
	}
	written, fault := writeMetadata(metadata)
	if fault != nil {
		return "", fault.words
	}
	return written, ""
}

// hashFault gives the reason to refuse a hash, and words without it; or nothing.
func hashFault(hash string, maxMemory int64) (reason, words string) {
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

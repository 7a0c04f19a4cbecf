package transfer

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/field"
)

// UserRecord is a user as a line of JSON, for import and export, with the names of REST and times of RFC 3339.
type UserRecord struct {
	ID           string          `json:"id,omitempty"`
	Email        string          `json:"email"`
	FullName     string          `json:"fullName"`
	Locale       string          `json:"locale,omitempty"`
	TimeZone     string          `json:"timeZone,omitempty"`
	PictureURI   string          `json:"pictureUri,omitempty"`
	Metadata     json.RawMessage `json:"metadata,omitempty"`
	AppMetadata  json.RawMessage `json:"appMetadata,omitempty"`
	Roles        []string        `json:"roles"`
	State        string          `json:"state"`
	CreateTime   string          `json:"createTime"`
	UpdateTime   string          `json:"updateTime"`
	Version      json.Number     `json:"version"`
	PasswordHash string          `json:"passwordHash,omitempty"`
}

// recordTime writes times with all the digits that the database stores.
const recordTime = "2006-01-02T15:04:05.000000Z"

// newUserRecord returns the record of a stored user. Equal users have equal bytes.
func newUserRecord(user account.UserWithHash) UserRecord {
	return UserRecord{
		ID: user.User.ID, Email: user.User.Email, FullName: user.User.FullName, Locale: user.User.Locale,
		TimeZone: user.User.TimeZone, PictureURI: user.User.PictureURI,
		Metadata: json.RawMessage(user.User.Metadata), AppMetadata: json.RawMessage(user.User.AppMetadata),
		Roles: user.User.Roles(), State: string(user.User.State),
		CreateTime: user.User.CreateTime.UTC().Format(recordTime), UpdateTime: user.User.UpdateTime.UTC().Format(recordTime),
		Version: json.Number(strconv.FormatInt(user.User.Version, 10)), PasswordHash: user.PasswordHash,
	}
}

// malformedLine describes a line that cannot be read.
const malformedLine = "is not a single JSON object in UTF-8"

// readUserRecord reads a line. It returns a violation for every member that is unknown, appears more than once, or is
// of another type than it should be, and the record without these. If the line is not a complete JSON object, it
// returns what it has read until then.
//
// encoding/json alone would accept names in any case, and of a name that appears more than once the last one.
func readUserRecord(line []byte) (record UserRecord, found []field.Violation, complete bool) {
	targets := record.targets()
	decoder := json.NewDecoder(bytes.NewReader(line))
	if begin, err := decoder.Token(); err != nil || begin != json.Delim('{') {
		return record, nil, false
	}
	seen := map[string]bool{}
	for decoder.More() {
		name, err := decoder.Token()
		key, isName := name.(string)
		if err != nil || !isName {
			return record, found, false
		}
		violates := func(name, description string) {
			found = append(found, field.Violation{Field: name, Description: description})
		}
		target, known := targets[key]
		if !known {
			violates(printable(key), "is unknown: use one of "+strings.Join(slices.Sorted(maps.Keys(targets)), ", "))
			target = &json.RawMessage{}
		} else if seen[key] {
			violates(key, "appears more than once")
		}
		seen[key] = true
		err = decoder.Decode(target)
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			violates(key, "must not be a JSON "+wrong.Value)
		} else if _, broken := errors.AsType[*json.SyntaxError](err); err != nil && !broken && key == "version" {
			violates(key, "must be a number")
		} else if err != nil {
			return record, found, false
		}
	}
	if _, err := decoder.Token(); err != nil { // The brace.
		return record, found, false
	}
	_, err := decoder.Token()
	return record, found, errors.Is(err, io.EOF)
}

func (r *UserRecord) targets() map[string]any {
	return map[string]any{
		"id": &r.ID, "email": &r.Email, "fullName": &r.FullName, "locale": &r.Locale, "timeZone": &r.TimeZone,
		"pictureUri": &r.PictureURI, "metadata": &r.Metadata, "appMetadata": &r.AppMetadata, "roles": &r.Roles,
		"state": &r.State, "createTime": &r.CreateTime, "updateTime": &r.UpdateTime, "version": &r.Version,
		"passwordHash":      &r.PasswordHash,
		"sessionGeneration": new(json.Number), // REST has it. It means nothing in a system without the sessions.
	}
}

// printable returns a name, or "a member" for what could be anything but a name.
func printable(name string) string {
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,39}$`).MatchString(name) {
		return "a member"
	}
	return name
}

// readRecordTime reads a time of a record, or returns standard if it has none.
func readRecordTime(text string, standard time.Time) (time.Time, bool) {
	if text == "" {
		return standard, true
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	at = at.UTC().Truncate(time.Microsecond)
	return at, err == nil && at.Year() >= 1970 && at.Year() <= 9999 // What all databases store.
}

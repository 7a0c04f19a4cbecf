package store

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
)

// userRecord is a user as a line of JSON has it, for import and export, with the names of REST and times of RFC 3339.
type userRecord struct {
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

// recordTime writes times with all the digits that the database keeps.
const recordTime = "2006-01-02T15:04:05.000000Z"

// newUserRecord is a stored user. Equal users give equal bytes.
func newUserRecord(user account.UserWithHash) userRecord {
	return userRecord{
		ID: user.User.ID, Email: user.User.Email, FullName: user.User.FullName, Locale: user.User.Locale,
		TimeZone: user.User.TimeZone, PictureURI: user.User.PictureURI,
		Metadata: json.RawMessage(user.User.Metadata), AppMetadata: json.RawMessage(user.User.AppMetadata),
		Roles: roles(user.User), State: string(user.User.State),
		CreateTime: user.User.CreateTime.UTC().Format(recordTime), UpdateTime: user.User.UpdateTime.UTC().Format(recordTime),
		Version: json.Number(strconv.FormatInt(user.User.Version, 10)), PasswordHash: user.PasswordHash,
	}
}

// brokenWords say what is wrong with a line that cannot be read.
const brokenWords = "is not a single JSON object in UTF-8"

// readUserRecord reads a line. It tells of every member that is unknown, there twice, or of another type than it should
// be, and gives the rest. If the line is not a whole JSON object, it gives what it has read till then.
//
// encoding/json alone would take names in any case, and of a name that is there twice the last one.
func readUserRecord(line []byte) (record userRecord, faults []fieldError, whole bool) {
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
			return record, faults, false
		}
		target, known := targets[key]
		if !known {
			faults = append(faults, fieldError{printable(key), "is unknown: use one of " + knownNames(targets)})
			target = &json.RawMessage{}
		} else if seen[key] {
			faults = append(faults, fieldError{key, "appears more than once"})
		}
		seen[key] = true
		err = decoder.Decode(target)
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			faults = append(faults, fieldError{key, "must not be a JSON " + wrong.Value})
		} else if _, broken := errors.AsType[*json.SyntaxError](err); err != nil && !broken && key == "version" {
			faults = append(faults, fieldError{key, "must be a number"})
		} else if err != nil {
			return record, faults, false
		}
	}
	if _, err := decoder.Token(); err != nil { // The brace.
		return record, faults, false
	}
	_, err := decoder.Token()
	return record, faults, errors.Is(err, io.EOF)
}

func (r *userRecord) targets() map[string]any {
	return map[string]any{
		"id": &r.ID, "email": &r.Email, "fullName": &r.FullName, "locale": &r.Locale, "timeZone": &r.TimeZone,
		"pictureUri": &r.PictureURI, "metadata": &r.Metadata, "appMetadata": &r.AppMetadata, "roles": &r.Roles,
		"state": &r.State, "createTime": &r.CreateTime, "updateTime": &r.UpdateTime, "version": &r.Version,
		"passwordHash":      &r.PasswordHash,
		"sessionGeneration": new(json.Number), // REST has it. It says nothing of a system without the sessions.
	}
}

func knownNames(targets map[string]any) string {
	return strings.Join(slices.Sorted(maps.Keys(targets)), ", ")
}

// printable gives a name, unless it could be anything but a name.
func printable(name string) string {
	if !regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.-]{0,39}$`).MatchString(name) {
		return "a member"
	}
	return name
}

// readRecordTime reads a time of a record, or gives standard if there is none.
func readRecordTime(text string, standard time.Time) (time.Time, bool) {
	if text == "" {
		return standard, true
	}
	at, err := time.Parse(time.RFC3339Nano, text)
	at = at.UTC().Truncate(time.Microsecond)
	return at, err == nil && at.Year() >= 1970 && at.Year() <= 9999 // What all databases keep.
}

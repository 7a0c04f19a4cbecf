// Package scale measures how Gatehouse answers when there are many accounts.
package scale

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"

	"github.com/google/uuid"
)

// The administrator whom every population has.
const (
	AdminEmail    = "root@example.com"
	AdminPassword = "correct horse"
)

// adminHash is that of AdminPassword, at the least cost that bcrypt has.
const adminHash = "$2b$05$y86VZWR3G/x1TKY2k7IqYeJxesjm/RxqHZu/3rcM6AuZmsvqbQ0Qm"

// Of how many users one is disabled, and one is an administrator.
const (
	oneDisabledOf = 100
	oneAdminOf    = 10_000
)

var (
	givenNames = []string{
		"ada", "alan", "anita", "barbara", "claude", "dorothy", "edsger", "emmy", "frances", "grace", "hedy", "ida", "joan",
		"karen", "katherine", "kurt", "leslie", "lise", "margaret", "mary", "niklaus", "radia", "shafi", "sophie", "tony",
	}
	familyNames = []string{
		"allen", "borg", "clarke", "dijkstra", "franklin", "goldwasser", "hamilton", "hopper", "johnson", "keller", "lamarr",
		"lamport", "liskov", "lovelace", "meitner", "noether", "perlman", "rhodes", "shannon", "turing", "wilson", "wirth",
	}
)

// user is a line as `gatehouse users import` takes it.
type user struct {
	ID           string         `json:"id"`
	Email        string         `json:"email"`
	FullName     string         `json:"fullName"`
	Metadata     map[string]any `json:"metadata,omitempty"`
	Roles        []string       `json:"roles,omitempty"`
	State        string         `json:"state,omitempty"`
	PasswordHash string         `json:"passwordHash,omitempty"`
}

// WriteUsers writes so many users, of whom the first is the administrator, as JSON lines. They are the same whenever it
// is called. Their ids are in another order than their addresses, as they are where people sign up.
func WriteUsers(to io.Writer, users int) error {
	lines := bufio.NewWriterSize(to, 1<<20)
	encoder := json.NewEncoder(lines)
	for number := range users {
		if err := encoder.Encode(userOf(number)); err != nil {
			return fmt.Errorf("write user %d: %w", number, err)
		}
	}
	return lines.Flush()
}

// userOf makes the user of a number. A digest of it decides what nobody should guess from another user.
func userOf(number int) user {
	digest := sha256.Sum256(binary.BigEndian.AppendUint64(nil, uint64(number))) //nolint:gosec // it is not negative
	id := uuid.UUID(digest[:16])
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // version 4 of RFC 9562
	if number == 0 {
		return user{
			ID: id.String(), Email: AdminEmail, FullName: "Root", Roles: []string{"admin", "user"}, PasswordHash: adminHash,
		}
	}
	given := givenNames[int(digest[16])%len(givenNames)]
	family := familyNames[int(digest[17])%len(familyNames)]
	made := user{
		ID: id.String(), Email: fmt.Sprintf("%s.%s.%d@example.com", given, family, number),
		FullName: given + " " + family, PasswordHash: adminHash,
	}
	if number%3 == 0 {
		made.Metadata = map[string]any{"theme": "dark", "visits": number}
	}
	if number%oneDisabledOf == 1 {
		made.State = "DISABLED"
	}
	if number%oneAdminOf == 2 {
		made.Roles = []string{"admin", "user"}
	}
	return made
}

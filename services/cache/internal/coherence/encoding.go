package coherence

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
)

// An entry is its rank and a protobuf message, which contains no secret. An entry with a higher rank is newer:
//
//	2v             the message is the state in version v
//	2v - 1         version v exists, its state is unknown: an outdated entry, which is nothing but its rank
//	2^52 + 2t + 1  an invalidation: an outdated entry that only an invalidation with a later t, or a tombstone, replaces
//	2^53 - 1       the session has ended by itself: a tombstone. The message has nothing but the ids
//
// Beyond 2^53 the numbers of Lua, by which Redis compares, are not exact. A session that has ended never comes back, so
// no rank is higher than that of its tombstone, and no slow reader can replace it by the live session.
//
// Invalidations are ordered by the end of their hold-off, t, in milliseconds since 1970: a write over an entry of the
// same rank changes nothing, not even the expiry, so that the first invalidation could expire before the hold-off of
// the second one is over.
const (
	tombstoneRank    = 1<<53 - 1
	invalidationRank = 1<<52 + 1 // the lowest
	maxVersion       = invalidationRank/2 - 1
)

// record is what a user and a session have in common.
type record interface {
	proto.Message
	GetId() string
	GetVersion() int64
}

// userKey returns the key of a user's entry. The braces make the user's id the hash tag: all keys of one user are in
// one slot of a Redis Cluster, where one operation can access several.
func userKey(id string) string { return "user:{" + id + "}" }

// SessionKey returns the key of a session's entry.
func SessionKey(userID, sessionID string) string { return "session:{" + userID + "}:" + sessionID }

func versionRank(version int64) (uint64, error) {
	if version < 1 || version > maxVersion {
		return 0, fmt.Errorf("version %d is out of range", version)
	}
	return 2 * uint64(version), nil
}

// encode returns the entry of a record, and the entry that makes older ones outdated.
func encode(of record) (current, outdated []byte, err error) {
	rank, err := versionRank(of.GetVersion())
	if err != nil {
		return nil, nil, fmt.Errorf("encode %s: %w", of.GetId(), err)
	}
	current, err = marshalEntry(rank, of)
	if err != nil {
		return nil, nil, fmt.Errorf("encode %s: %w", of.GetId(), err)
	}
	return current, binary.BigEndian.AppendUint64(nil, rank-1), nil
}

// tombstone returns the entry of a session that has ended by itself.
func tombstone(userID, sessionID string) ([]byte, error) {
	value, err := marshalEntry(tombstoneRank, &gatehousev1.Session{Id: sessionID, UserId: userID})
	if err != nil {
		return nil, fmt.Errorf("encode the tombstone of session %s: %w", sessionID, err)
	}
	return value, nil
}

func marshalEntry(rank uint64, message proto.Message) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend(binary.BigEndian.AppendUint64(nil, rank), message)
}

// invalidated returns an invalidation with a hold-off until this time.
func invalidated(until time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, invalidationRank+2*uint64(max(0, until.UnixMilli())))
}

// decodeUser decodes an entry, and returns an error if it was not encoded from the user with this id: above all for
// another user. It returns nil for an outdated entry.
func decodeUser(value []byte, id string) (*gatehousev1.User, error) {
	user := new(gatehousev1.User)
	known, err := decode(value, user)
	switch {
	case err != nil || !known:
		return nil, err
	case user.GetId() != id:
		return nil, errors.New("another user")
	case user.GetAppMetadata() != nil:
		return nil, errors.New("app metadata, which only admins may see")
	default:
		return user, nil
	}
}

// decodeSession decodes an entry, and returns an error if it was not encoded from this session. It returns nil for an
// outdated entry.
func decodeSession(value []byte, userID, sessionID string) (session *gatehousev1.Session, ended bool, err error) {
	session = new(gatehousev1.Session)
	if len(value) >= entry.RankLength && entry.Rank(value) == tombstoneRank {
		if err := unmarshal(value, session); err != nil {
			return nil, false, err
		}
		if !proto.Equal(session, &gatehousev1.Session{Id: sessionID, UserId: userID}) {
			return nil, false, errors.New("tombstone of another session")
		}
		return nil, true, nil
	}
	known, err := decode(value, session)
	switch {
	case err != nil || !known:
		return nil, false, err
	case session.GetId() != sessionID || session.GetUserId() != userID:
		return nil, false, errors.New("another session")
	case session.GetCurrent():
		return nil, false, errors.New("current is set")
	default:
		return session, false, nil
	}
}

// decode reports whether the state is known: an outdated entry has none.
func decode(value []byte, into record) (known bool, err error) {
	if len(value) < entry.RankLength {
		return false, fmt.Errorf("%d bytes are too short", len(value))
	}
	found := entry.Rank(value)
	if found%2 == 1 && found < tombstoneRank && len(value) == entry.RankLength {
		return false, nil
	}
	if err := unmarshal(value, into); err != nil {
		return false, err
	}
	if expected, err := versionRank(into.GetVersion()); err != nil || found != expected {
		return false, errors.New("the rank is not that of the version")
	}
	return true, nil
}

func unmarshal(value []byte, into proto.Message) error {
	if err := proto.Unmarshal(value[entry.RankLength:], into); err != nil {
		return errors.New("malformed message") // not the parser's error, which could quote the entry
	}
	return nil
}

package cache

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/entry"
)

// An entry is its rank, and a protobuf message, which has no secret in it. What the entry of a higher rank says was
// true later:
//
//	2v             the message is what it was in version v
//	2v - 1         version v is there, what it says is not known. An outdated entry, which is nothing but its rank
//	2^52 + 2t + 1  an outdated entry that nothing replaces but a doubt that ends after t, or a tombstone
//	2^53 - 1       the session has ended by itself: a tombstone. The message holds nothing but its ids
//
// Beyond 2^53 the numbers of Lua, by which Redis compares, are not exact. A session that has ended never comes back, so
// nothing is ever higher than its tombstone, and no reader that is slow can put the living session in its place.
//
// Doubts are in the order of their ends, t, in milliseconds since 1970: what is put where there is one of the same rank
// changes nothing, not even when it expires, and the doubt that came first could end before what the second one is
// about has arrived.
const (
	tombstoneRank = 1<<53 - 1
	markerRank    = 1<<52 + 1 // the lowest
	maxVersion    = markerRank/2 - 1
)

// record is what a user and a session have in common.
type record interface {
	proto.Message
	GetId() string
	GetVersion() int64
}

// The keys of a user's entry and of a session's. The braces make the user's id the hash tag: all keys of one user are
// in one slot of a Redis Cluster, where one operation can be about several.
func userKey(id string) string                   { return "user:{" + id + "}" }
func SessionKey(userID, sessionID string) string { return "session:{" + userID + "}:" + sessionID }

func versionRank(version int64) (uint64, error) {
	if version < 1 || version > maxVersion {
		return 0, fmt.Errorf("version %d is none", version)
	}
	return 2 * uint64(version), nil
}

// encode makes the entry of a record, and the one that says that what is older is outdated.
func encode(of record) (current, outdated []byte, err error) {
	rank, err := versionRank(of.GetVersion())
	if err != nil {
		return nil, nil, fmt.Errorf("keep %s: %w", of.GetId(), err)
	}
	current, err = marshalEntry(rank, of)
	if err != nil {
		return nil, nil, fmt.Errorf("keep %s: %w", of.GetId(), err)
	}
	return current, binary.BigEndian.AppendUint64(nil, rank-1), nil
}

// tombstone makes the entry of a session that has ended by itself.
func tombstone(userID, sessionID string) ([]byte, error) {
	made, err := marshalEntry(tombstoneRank, &gatehousev1.Session{Id: sessionID, UserId: userID})
	if err != nil {
		return nil, fmt.Errorf("keep the end of session %s: %w", sessionID, err)
	}
	return made, nil
}

func marshalEntry(rank uint64, message proto.Message) ([]byte, error) {
	made, err := proto.MarshalOptions{}.MarshalAppend(binary.BigEndian.AppendUint64(nil, rank), message)
	if err != nil {
		return nil, fmt.Errorf("marshal: %w", err)
	}
	return made, nil
}

// doubt makes the entry of what may have changed, and is not learnt anew until this time.
func marker(until time.Time) []byte {
	return binary.BigEndian.AppendUint64(nil, markerRank+2*uint64(max(0, until.UnixMilli())))
}

// decodeUser reads an entry and refuses one that was not made of the user with this id: another user's above all. It
// gives nil for an outdated one.
func decodeUser(bytes []byte, id string) (*gatehousev1.User, error) {
	user := new(gatehousev1.User)
	known, err := decode(bytes, user)
	switch {
	case err != nil || !known:
		return nil, err
	case user.GetId() != id:
		return nil, errors.New("it holds another user")
	case user.GetAppMetadata() != nil:
		return nil, errors.New("it holds what only admins may see")
	default:
		return user, nil
	}
}

// decodeSession reads an entry and refuses one that was not made of this session. It gives nil for an outdated one.
func decodeSession(bytes []byte, userID, sessionID string) (session *gatehousev1.Session, ended bool, err error) {
	session = new(gatehousev1.Session)
	if len(bytes) >= entry.RankLength && entry.Rank(bytes) == tombstoneRank {
		if err := unmarshal(bytes, session); err != nil {
			return nil, false, err
		}
		if !proto.Equal(session, &gatehousev1.Session{Id: sessionID, UserId: userID}) {
			return nil, false, errors.New("it is the tombstone of another session")
		}
		return nil, true, nil
	}
	known, err := decode(bytes, session)
	switch {
	case err != nil || !known:
		return nil, false, err
	case session.GetId() != sessionID || session.GetUserId() != userID:
		return nil, false, errors.New("it holds another session")
	case session.GetCurrent():
		return nil, false, errors.New("it says whose call it is of")
	default:
		return session, false, nil
	}
}

// decode tells whether the record is known: an outdated entry has none.
func decode(bytes []byte, into record) (known bool, err error) {
	if len(bytes) < entry.RankLength {
		return false, fmt.Errorf("it has %d bytes", len(bytes))
	}
	held := entry.Rank(bytes)
	if held%2 == 1 && held < tombstoneRank && len(bytes) == entry.RankLength {
		return false, nil
	}
	if err := unmarshal(bytes, into); err != nil {
		return false, err
	}
	if stated, err := versionRank(into.GetVersion()); err != nil || held != stated {
		return false, errors.New("its rank is not that of its version")
	}
	return true, nil
}

func unmarshal(bytes []byte, into proto.Message) error {
	if err := proto.Unmarshal(bytes[entry.RankLength:], into); err != nil {
		return errors.New("its message cannot be read") // without the parser's words, which could quote the entry
	}
	return nil
}

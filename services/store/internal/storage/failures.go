package storage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

const (
	// failureWindow is the time within which failures of one kind, account and network are one event.
	failureWindow = time.Hour

	// maxFailureNetworks bounds the networks that have an event of their own, of each kind and account in a window. All
	// others share one more event. That distinguishes 64 machines, and makes 1,560 events a day.
	maxFailureNetworks = 64

	// failureKeyPart is the length of both parts of a failure key: what failed, and from which network.
	failureKeyPart = 16
)

// RecordFailure records that an action was refused, as one event with a count for each kind, reason, account, actor,
// network and hour, so that strangers cannot fill the table. Log-ins to addresses without an account share the account
// "".
func (s *Storage) RecordFailure(ctx context.Context, kind EventKind, userID, reason string, now time.Time) error {
	row, err := newEventRow(ctx, Event{Kind: kind, Time: now, UserID: userID, Reason: reason})
	if err != nil {
		return err
	}
	err = s.write(ctx, func(db *gorm.DB) error {
		row := row
		if row.FailureKey, err = failureKey(ctx, db, row); err != nil {
			return err
		}
		if bytes.HasSuffix(row.FailureKey, otherNetworks()) {
			row.ClientAddress, row.UserAgent, row.RequestID = "", "", ""
		}
		return countFailure(ctx, db, row)
	})
	return s.wrap(ctx, "record that "+string(kind)+" was refused", err, nil)
}

// countFailure inserts the event, or counts it in the one that exists. It does so in one statement, so that no
// concurrent failure is lost or counted twice.
func countFailure(ctx context.Context, db *gorm.DB, row eventRow) error {
	return gorm.G[eventRow](db, clause.OnConflict{
		Columns: []clause.Column{{Name: "failure_key"}},
		DoUpdates: clause.Assignments(map[string]any{
			"repeats": gorm.Expr("audit_events.repeats + 1"),
			"last_time": gorm.Expr(
				"CASE WHEN COALESCE(audit_events.last_time, audit_events.event_time) > ? THEN "+
					"COALESCE(audit_events.last_time, audit_events.event_time) ELSE ? END", row.EventTime, row.EventTime),
		}),
	}).Create(ctx, &row)
}

// failureKey returns the key of the event that counts a failure: that of its network, or of all other networks if there
// are maxFailureNetworks already. Failures that are recorded at the same time may each exceed that by one.
func failureKey(ctx context.Context, db *gorm.DB, row eventRow) ([]byte, error) {
	bucket, network := failureBucket(row), networkDigest(row.ClientAddress)
	var keys [][]byte
	err := gorm.G[eventRow](db).Select("failure_key").
		Where("failure_key >= ? AND failure_key <= ?", slices.Concat(bucket, otherNetworks()),
			slices.Concat(bucket, bytes.Repeat([]byte{0xff}, failureKeyPart))).
		Limit(2*maxFailureNetworks).Scan(ctx, &keys)
	if err != nil {
		return nil, err
	}
	own := slices.Concat(bucket, network)
	isOwn := func(key []byte) bool { return bytes.Equal(key, own) }
	if slices.ContainsFunc(keys, isOwn) || len(keys) < maxFailureNetworks {
		return own, nil
	}
	return slices.Concat(bucket, otherNetworks()), nil
}

// failureBucket returns the first part of a key: a digest of what failed. It begins with the window, so that the keys
// of one time are adjacent.
func failureBucket(row eventRow) []byte {
	digest := sha256.New()
	for _, part := range []string{row.Kind, row.Reason, row.UserID, row.Actor} {
		digest.Write(binary.BigEndian.AppendUint32(nil, uint32(len(part)))) //nolint:gosec // some bytes
		digest.Write([]byte(part))
	}
	window := uint64(row.EventTime.Truncate(failureWindow).Unix()) //nolint:gosec // a number, whatever its sign
	return digest.Sum(binary.BigEndian.AppendUint64(nil, window))[:failureKeyPart]
}

// networkDigest returns the second part of a key: a digest of the network of a client.
func networkDigest(address string) []byte {
	parsed, _ := netip.ParseAddr(address) // Anything else is the unknown network.
	digest := sha256.Sum256([]byte(shares.KeyOf(parsed).String()))
	return digest[:failureKeyPart]
}

// otherNetworks returns the digest for the failures that have no event of their own.
func otherNetworks() []byte { return make([]byte, failureKeyPart) }

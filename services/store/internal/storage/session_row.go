package storage

import (
	"context"
	"encoding/binary"
	"time"

	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/refresh"
)

type sessionRow struct {
	ID            string `gorm:"primaryKey"`
	UserID        string
	CreateTime    time.Time
	LastUseTime   time.Time
	ExpireTime    time.Time
	EndTime       *time.Time
	EndReason     string
	UserAgent     string
	ClientAddress string
	CurrentToken  int64
	ParentToken   int64
	RotateTime    time.Time
	Generation    int64
	Version       int64

	FirstToken            int64
	TokenRepeats          int64
	TokenRefused          bool
	RecentTrades          []byte
	PreviousClientAddress string
	PreviousUserAgent     string
}

func (sessionRow) TableName() string { return "sessions" }

func sessionRowOf(session account.Session) sessionRow {
	session = normalized(session)
	row := sessionRow{
		ID: session.ID, UserID: session.UserID,
		CreateTime: session.CreateTime, LastUseTime: session.LastUseTime, ExpireTime: session.ExpireTime,
		EndReason: string(session.EndReason), UserAgent: session.UserAgent, ClientAddress: session.ClientAddress,
		CurrentToken: session.Lineage.Current, ParentToken: session.Lineage.Parent,
		RotateTime: session.Lineage.RotateTime, Generation: session.Generation, Version: session.Version,
		FirstToken: session.Lineage.First, TokenRepeats: session.Lineage.Repeats, TokenRefused: session.Lineage.Refused,
		RecentTrades:          encodeTrades(session.Lineage.Trades),
		PreviousClientAddress: session.PreviousClientAddress, PreviousUserAgent: session.PreviousUserAgent,
	}
	if !session.EndTime.IsZero() {
		row.EndTime = &session.EndTime
	}
	return row
}

func (r sessionRow) session() account.Session {
	session := account.Session{
		ID: r.ID, UserID: r.UserID, CreateTime: r.CreateTime, LastUseTime: r.LastUseTime, ExpireTime: r.ExpireTime,
		UserAgent: r.UserAgent, ClientAddress: r.ClientAddress,
		PreviousUserAgent: r.PreviousUserAgent, PreviousClientAddress: r.PreviousClientAddress,
		Lineage: refresh.Lineage{
			Current: r.CurrentToken, First: r.FirstToken, Parent: r.ParentToken, RotateTime: r.RotateTime,
			Repeats: r.TokenRepeats, Refused: r.TokenRefused, Trades: decodeTrades(r.RecentTrades),
		},
		Generation: r.Generation, Version: r.Version, EndReason: account.EndReason(r.EndReason),
	}
	if r.EndTime != nil {
		session.EndTime = *r.EndTime
	}
	return session
}

// normalized returns the session as it is read back: the database truncates times.
func normalized(s account.Session) account.Session {
	s.CreateTime, s.LastUseTime, s.ExpireTime = toMicros(s.CreateTime), toMicros(s.LastUseTime), toMicros(s.ExpireTime)
	s.Lineage.RotateTime = toMicros(s.Lineage.RotateTime)
	s.Lineage.Trades = decodeTrades(encodeTrades(s.Lineage.Trades))
	if !s.EndTime.IsZero() {
		s.EndTime = toMicros(s.EndTime)
	}
	return s
}

// tradeLength is the length of a trade in the column recent_trades: its number, and its time in microseconds.
const tradeLength = 16

// encodeTrades returns the trades as the database stores them. Mostly there are none.
func encodeTrades(trades refresh.Trades) []byte {
	encoded := []byte{}
	for _, trade := range trades {
		if trade.Number == 0 {
			break
		}
		number := uint64(trade.Number) //nolint:gosec // read back as the same bits
		encoded = binary.BigEndian.AppendUint64(encoded, number)
		encoded = binary.BigEndian.AppendUint64(encoded, uint64(trade.Time.UnixMicro()))
	}
	return encoded
}

func decodeTrades(encoded []byte) (trades refresh.Trades) {
	for i := 0; i < len(trades) && len(encoded) >= tradeLength; i++ {
		number, micros := binary.BigEndian.Uint64(encoded), binary.BigEndian.Uint64(encoded[8:])
		//nolint:gosec // written from the same bits
		trades[i] = refresh.Trade{Number: int64(number), Time: time.UnixMicro(int64(micros)).UTC()}
		encoded = encoded[tradeLength:]
	}
	return trades
}

// ownedSession is a session with its user. It is for reads only: gorm would write the user too.
type ownedSession struct {
	Session sessionRow `gorm:"embedded"`
	Owner   userRow    `gorm:"foreignKey:UserID"`
}

func (ownedSession) TableName() string { return "sessions" }

// readSession fails with gorm.ErrRecordNotFound if there is no such session.
func readSession(ctx context.Context, db *gorm.DB, id string) (account.UserSession, error) {
	row, err := gorm.G[ownedSession](db).Joins(clause.InnerJoin.Association("Owner"),
		func(owner gorm.JoinBuilder, _, _ clause.Table) error {
			owner.Omit("canonical_email", "app_metadata")
			return nil
		}).Where("sessions.id = ?", id).Take(ctx)
	return account.UserSession{User: row.Owner.user(), Session: row.Session.session()}, err
}

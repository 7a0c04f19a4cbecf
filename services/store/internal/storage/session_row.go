package storage

import (
	"encoding/binary"
	"time"

	"gorm.io/gorm"

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

// accountRow is a session joined with its user, whose columns are named owner_….
type accountRow struct {
	Session sessionRow `gorm:"embedded"`
	Owner   userRow    `gorm:"embedded;embeddedPrefix:owner_"`
}

const selectAccount = `SELECT s.id, s.user_id, s.create_time, s.last_use_time, s.expire_time, s.end_time, s.end_reason,
	s.user_agent, s.client_address, s.current_token, s.parent_token, s.rotate_time, s.generation, s.version,
	s.first_token, s.token_repeats, s.token_refused, s.recent_trades, s.previous_client_address, s.previous_user_agent,
	u.id AS owner_id, u.email AS owner_email, u.full_name AS owner_full_name, u.locale AS owner_locale,
	u.time_zone AS owner_time_zone, u.picture_uri AS owner_picture_uri, u.metadata AS owner_metadata,
	u.create_time AS owner_create_time, u.update_time AS owner_update_time, u.version AS owner_version,
	u.state AS owner_state, u.is_admin AS owner_is_admin, u.session_generation AS owner_session_generation
	FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.id = ?`

// readAccount fails with gorm.ErrRecordNotFound if there is no such session.
func readAccount(db *gorm.DB, sessionID string) (account.UserSession, error) {
	var rows []accountRow
	if err := db.Raw(selectAccount, sessionID).Scan(&rows).Error; err != nil {
		return account.UserSession{}, err
	}
	if len(rows) == 0 {
		return account.UserSession{}, gorm.ErrRecordNotFound
	}
	return account.UserSession{User: rows[0].Owner.user(), Session: rows[0].Session.session()}, nil
}

// expiringAtEnd returns the session as one that expires no later than it ended, so that it is deleted as long after
// that as others are after they expired.
func expiringAtEnd(s account.Session) account.Session {
	if !s.EndTime.IsZero() && s.EndTime.Before(s.ExpireTime) {
		s.ExpireTime = s.EndTime
	}
	return s
}

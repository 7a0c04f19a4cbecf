// Package account is the domain model of the store: users and their sessions, without protobuf and without SQL. It
// decides what follows from a record alone: whether a session may act, which roles a user has, which metadata is valid.
// The layers above it pass its types to each other; it imports none of them.
package account

import (
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/refresh"
)

// User is an account. Its times are UTC with microseconds; storage truncates what is finer.
type User struct {
	ID         string // a UUID in lower case
	Email      string // as emailaddr.Display returns it
	FullName   string
	Locale     string // "" if none was chosen, as the rest
	TimeZone   string
	PictureURI string
	Metadata   string // a JSON object, or ""; at most 16 KiB
	CreateTime time.Time
	UpdateTime time.Time
	Version    int64 // 1 for a new user; grows by one with each committed change
	State      UserState
	Admin      bool

	// AppMetadata has the form of Metadata. A UserSession lacks it, because one is read with every call.
	AppMetadata string

	// SessionGeneration grows when all sessions are ended at once. Sessions of an older generation have ended.
	SessionGeneration int64
}

// IsActiveAdmin reports whether the user is an admin whose account can be used.
func (u User) IsActiveAdmin() bool { return u.Admin && u.State == Active }

// UserState is whether an account can be used.
type UserState string

// The states of users.
const (
	Active   UserState = "ACTIVE"
	Disabled UserState = "DISABLED"
)

// UserWithHash is a user and the hash of the user's password.
type UserWithHash struct {
	User         User
	PasswordHash string // "" if the user cannot log in until a password is set
}

// Credential is what a password is checked against.
type Credential struct {
	UserID       string
	PasswordHash string
	State        UserState
	Admin        bool
	// SessionGeneration is the user's at the time of the hash. A session of this generation belongs to this hash.
	SessionGeneration int64
}

// Session is a log-in of a user. Its times are UTC with microseconds; storage truncates what is finer.
type Session struct {
	ID            string // a UUID in lower case
	UserID        string
	CreateTime    time.Time
	LastUseTime   time.Time
	ExpireTime    time.Time
	UserAgent     string // at most 256 bytes
	ClientAddress string // an IP address, or ""
	Lineage       refresh.Lineage

	// The last client that differs from the present one, or "" if there was none.
	PreviousUserAgent     string
	PreviousClientAddress string

	Generation int64     // the session has ended if its user's generation is greater
	Version    int64     // 1 for a new session; grows by one with each committed change
	EndTime    time.Time // zero unless this session was ended individually
	EndReason  EndReason
}

// Client returns the client that received the current refresh token.
func (s Session) Client() callctx.Client {
	return callctx.Client{Address: s.ClientAddress, UserAgent: s.UserAgent}
}

// UsedBy returns the session after a client has received a new current token. If the client differs from the last one,
// that one becomes the previous client.
func (s Session) UsedBy(client callctx.Client) Session {
	if !callctx.SameClient(s.Client(), client) && s.Client() != client {
		s.PreviousClientAddress, s.PreviousUserAgent = s.ClientAddress, s.UserAgent
	}
	s.ClientAddress, s.UserAgent = client.Address, client.UserAgent
	return s
}

// EndReason is why a session was ended individually.
type EndReason string

// The reasons to end a session.
const (
	LoggedOut   EndReason = "LOGGED_OUT"
	Replaced    EndReason = "REPLACED"
	Displaced   EndReason = "TOO_MANY_SESSIONS"
	TokenReused EndReason = "REFRESH_TOKEN_REUSED" //nolint:gosec // no credential: the name of a reason
)

// UserSession is a session and its user, as of one moment.
type UserSession struct {
	User    User
	Session Session
}

// Ended reports whether the session was ended, individually or with all others of its user. It does not report whether
// the session has expired, which depends on the time.
func (s UserSession) Ended() bool {
	return !s.Session.EndTime.IsZero() || s.Session.Generation < s.User.SessionGeneration
}

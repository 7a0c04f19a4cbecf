package cache_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
)

// forAdmins is in the app metadata of every user. The fake store returns it to all callers.
const forAdmins = "only admins may see this"

// lifetime is the lifetime of sessions in the fake store.
const lifetime = time.Hour

// fakeStore is a store in memory. It counts reads and calls the hooks of a test.
type fakeStore struct {
	gatehousev1.UnsafeUserServiceServer
	gatehousev1.UnsafeSessionServiceServer
	gatehousev1.UnsafeKeyServiceServer
	gatehousev1.UnsafeAdminServiceServer

	private ed25519.PrivateKey
	public  *gatehousev1.Key

	mu       sync.Mutex
	users    map[string]*gatehousev1.User
	sessions map[string]*sessionRow
	tokens   map[string]string // session ids by access token
	ofAdmins map[string]bool   // access tokens that say so
	reads    int
	before   func(ctx context.Context, method, token string) error // runs in each call, before it sees the truth
	after    func(ctx context.Context, method, token string) error // runs in each call, before it answers
}

type sessionRow struct {
	*gatehousev1.Session

	ended     bool
	refreshes int
}

func newFakeStore(t *testing.T) *fakeStore {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err := jwk.FromPublic(public)
	if err != nil {
		t.Fatal(err)
	}
	return &fakeStore{
		private: private, public: key,
		users: map[string]*gatehousev1.User{}, sessions: map[string]*sessionRow{}, tokens: map[string]string{},
		ofAdmins: map[string]bool{},
	}
}

// serve runs a call under the lock, between the hooks of the test.
func serve[T any](ctx context.Context, s *fakeStore, method string, see func() (T, error)) (answer T, err error) {
	var token string
	if values := metadata.ValueFromIncomingContext(ctx, authn.AuthorizationKey); len(values) == 1 {
		token = values[0]
	}
	s.mu.Lock()
	before, after := s.before, s.after
	if strings.HasPrefix(method, "Read") {
		s.reads++
	}
	s.mu.Unlock()
	if before != nil {
		if err := before(ctx, method, token); err != nil {
			return answer, err
		}
	}
	s.mu.Lock()
	answer, err = see()
	s.mu.Unlock()
	if after != nil {
		if err := after(ctx, method, token); err != nil {
			return answer, err
		}
	}
	return answer, err
}

// caller returns the caller of a call. The store must be locked.
func (s *fakeStore) caller(ctx context.Context) (*gatehousev1.User, *sessionRow, error) {
	values := metadata.ValueFromIncomingContext(ctx, authn.AuthorizationKey)
	if len(values) != 1 {
		return nil, nil, apierr.AccessTokenMissing()
	}
	id, issued := s.tokens[strings.TrimPrefix(values[0], "Bearer ")]
	if !issued {
		return nil, nil, apierr.AccessTokenInvalid(errors.New("it was not issued here"))
	}
	session := s.sessions[id]
	if session == nil {
		return nil, nil, apierr.SessionEnded("", "") // It was deleted with its user.
	}
	user := s.users[session.GetUserId()]
	if session.ended {
		return nil, nil, apierr.SessionEnded(session.GetId(), user.GetId())
	}
	return user, session, authn.Account{User: user, Session: session.Session}.CheckActive(time.Now())
}

// lookUp returns the session of the caller that a request names. The store must be locked.
func (s *fakeStore) lookUp(ctx context.Context, id string) (user *gatehousev1.User, current, named *sessionRow, err error) {
	user, current, err = s.caller(ctx)
	if err != nil {
		return nil, nil, nil, err
	}
	if id == authn.Current {
		return user, current, current, nil
	}
	named = s.sessions[strings.ToLower(id)]
	if named.getUserID() != user.GetId() {
		return nil, nil, nil, apierr.SessionNotFound()
	}
	return user, current, named, nil
}

func (h *sessionRow) getUserID() string {
	if h == nil {
		return ""
	}
	return h.GetUserId()
}

// shown returns the session as it is in an answer.
func (h *sessionRow) shown(current bool) *gatehousev1.Session {
	session := proto.CloneOf(h.Session)
	session.Current = current
	return session
}

func (s *fakeStore) ListKeys(
	ctx context.Context, _ *gatehousev1.ListKeysRequest,
) (*gatehousev1.ListKeysResponse, error) {
	settings := authn.IssuerSettings{Issuer: issuer, Audience: audience, Now: time.Now(), Lifetime: lifetime}
	if err := grpc.SetHeader(ctx, settings.Metadata()); err != nil {
		return nil, err
	}
	return &gatehousev1.ListKeysResponse{Keys: []*gatehousev1.Key{s.public}}, nil
}

func (s *fakeStore) CreateSession(
	ctx context.Context, req *gatehousev1.CreateSessionRequest,
) (*gatehousev1.CreateSessionResponse, error) {
	return serve(ctx, s, "CreateSession", func() (*gatehousev1.CreateSessionResponse, error) {
		for _, user := range s.users {
			if user.GetEmail() == req.GetEmail() && req.GetPassword() == password &&
				user.GetState() == gatehousev1.UserState_USER_STATE_ACTIVE {
				session := s.open(user)
				return &gatehousev1.CreateSessionResponse{
					AccessToken: s.issue(session), TokenType: "Bearer", ExpiresIn: 900, SessionId: session.GetId(),
					RefreshToken: session.refreshToken(), Session: session.shown(true),
				}, nil
			}
		}
		return nil, apierr.InvalidCredentials()
	})
}

func (s *fakeStore) RefreshSession(
	ctx context.Context, req *gatehousev1.RefreshSessionRequest,
) (*gatehousev1.RefreshSessionResponse, error) {
	return serve(ctx, s, "RefreshSession", func() (*gatehousev1.RefreshSessionResponse, error) {
		_, named, _ := strings.Cut(req.GetRefreshToken(), "_")
		id, _, _ := strings.Cut(named, "_")
		session := s.sessions[id]
		switch {
		case session == nil:
			return nil, apierr.RefreshTokenInvalid(nil)
		case session.ended || session.GetGeneration() < s.users[session.GetUserId()].GetSessionGeneration():
			return nil, apierr.SessionEnded(id, session.GetUserId())
		case session.refreshToken() != req.GetRefreshToken():
			session.ended = true
			return nil, apierr.RefreshTokenReused(id, session.GetUserId())
		}
		session.refreshes++
		session.Version++
		session.ExpireTime = timestamppb.New(session.GetExpireTime().AsTime().Add(time.Minute))
		return &gatehousev1.RefreshSessionResponse{
			AccessToken: s.issue(session), TokenType: "Bearer", ExpiresIn: 900, SessionId: session.GetId(),
			RefreshToken: session.refreshToken(), Session: session.shown(true),
		}, nil
	})
}

func (h *sessionRow) refreshToken() string {
	return "ghrt_" + h.GetId() + "_" + strconv.Itoa(h.refreshes)
}

func (s *fakeStore) ReadSession(
	ctx context.Context, req *gatehousev1.ReadSessionRequest,
) (*gatehousev1.ReadSessionResponse, error) {
	return serve(ctx, s, "ReadSession", func() (*gatehousev1.ReadSessionResponse, error) {
		user, current, named, err := s.lookUp(ctx, req.GetId())
		if err != nil {
			return nil, err
		}
		return &gatehousev1.ReadSessionResponse{
			Session: named.shown(named == current), User: proto.CloneOf(user), Active: true,
			Sub: user.GetId(), TokenType: "Bearer",
		}, nil
	})
}

func (s *fakeStore) ListSessions(
	ctx context.Context, _ *gatehousev1.ListSessionsRequest,
) (*gatehousev1.ListSessionsResponse, error) {
	return serve(ctx, s, "ListSessions", func() (*gatehousev1.ListSessionsResponse, error) {
		user, current, err := s.caller(ctx)
		if err != nil {
			return nil, err
		}
		response := &gatehousev1.ListSessionsResponse{}
		for _, session := range s.sessions {
			if session.GetUserId() == user.GetId() && !session.ended &&
				session.GetGeneration() == user.GetSessionGeneration() {
				response.Sessions = append(response.Sessions, session.shown(session == current))
			}
		}
		return response, nil
	})
}

// add creates a user. The store must be locked.
func (s *fakeStore) add(email string) *gatehousev1.User {
	user := &gatehousev1.User{
		Id: uuid.Must(uuid.NewV7()).String(), Email: email, FullName: "Ada Lovelace", Version: 1, SessionGeneration: 1,
		Roles: []string{authn.RoleUser}, State: gatehousev1.UserState_USER_STATE_ACTIVE,
		AppMetadata: &structpb.Struct{Fields: map[string]*structpb.Value{"tier": structpb.NewStringValue(forAdmins)}},
	}
	s.users[user.GetId()] = user
	return user
}

// open creates a session. The store must be locked.
func (s *fakeStore) open(user *gatehousev1.User) *sessionRow {
	now := time.Now()
	session := &sessionRow{Session: &gatehousev1.Session{
		Id: uuid.Must(uuid.NewV7()).String(), UserId: user.GetId(), Version: 1, Generation: user.GetSessionGeneration(),
		CreateTime: timestamppb.New(now), ExpireTime: timestamppb.New(now.Add(lifetime)),
	}}
	s.sessions[session.GetId()] = session
	return session
}

// issue returns an access token, each time another one. The store must be locked.
func (s *fakeStore) issue(session *sessionRow) string {
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, authn.Claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: issuer, Subject: session.GetUserId(), Audience: jwt.ClaimStrings{audience}, ID: uuid.NewString(),
			IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(15 * time.Minute)),
		},
		SessionID: session.GetId(), Roles: s.users[session.GetUserId()].GetRoles(),
	})
	token.Header["kid"], token.Header["typ"] = s.public.GetKid(), authn.TokenType
	signed, err := token.SignedString(s.private)
	if err != nil {
		panic(err)
	}
	s.tokens[signed], s.ofAdmins[signed] = session.GetId(), isAdmin(s.users[session.GetUserId()])
	return signed
}

// put adds a user past the cache, and returns the id.
func (s *fakeStore) put(email string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.add(email).GetId()
}

// putAdmin adds an admin past the cache, and returns the id.
func (s *fakeStore) putAdmin(email string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	user := s.add(email)
	user.Roles = []string{authn.RoleAdmin, authn.RoleUser}
	return user.GetId()
}

// token returns a token of a session that it creates past the cache.
func (s *fakeStore) token(userID string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issue(s.open(s.users[userID]))
}

// anotherToken returns another token of the session of a token.
func (s *fakeStore) anotherToken(token string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.issue(s.sessions[s.tokens[token]])
}

// session returns the session of a token.
func (s *fakeStore) session(token string) *gatehousev1.Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return proto.CloneOf(s.sessions[s.tokens[token]].Session)
}

// end ends the session of a token past the cache.
func (s *fakeStore) end(token string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[s.tokens[token]].ended = true
}

func (s *fakeStore) user(id string) *gatehousev1.User {
	s.mu.Lock()
	defer s.mu.Unlock()
	return proto.CloneOf(s.users[id])
}

// profile returns its owner as a token may see it: with app metadata, if the token and the user have the role admin.
func (s *fakeStore) profile(token string) *gatehousev1.User {
	s.mu.Lock()
	defer s.mu.Unlock()
	user := proto.CloneOf(s.users[s.sessions[s.tokens[token]].GetUserId()])
	if !s.ofAdmins[token] || !isAdmin(user) {
		user.AppMetadata = nil
	}
	return user
}

func (s *fakeStore) readCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads
}

type hook func(ctx context.Context, method, token string) error

// hook sets the functions that each call runs before and after. Either may be nil.
func (s *fakeStore) hook(before, after hook) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before, s.after = before, after
}

// block stops the next call of the method after it has read the store. It closes seen then, and continues when answer
// is closed.
func (s *fakeStore) block(method string) (seen <-chan struct{}, answer chan<- struct{}) {
	arrived, open := make(chan struct{}), make(chan struct{})
	var held atomic.Bool
	s.hook(nil, func(ctx context.Context, called, _ string) error {
		if called != method || !held.CompareAndSwap(false, true) {
			return nil
		}
		close(arrived)
		return waitFor(ctx, open)
	})
	return arrived, open
}

// waitFor waits until open is closed. It returns an error if ctx is done before.
func waitFor(ctx context.Context, open <-chan struct{}) error {
	select {
	case <-open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *fakeStore) ReadConfiguration(
	context.Context, *gatehousev1.ReadConfigurationRequest,
) (*gatehousev1.ReadConfigurationResponse, error) {
	return nil, errors.New("the cache has no need to ask this")
}

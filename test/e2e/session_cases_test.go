package e2e

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// callsAs is how a session calls.
func callsAs(session *gatehousev1.CreateSessionResponse) []string {
	return []string{"Bearer " + session.GetAccessToken()}
}

// adasNew is a caller with a session of Ada's that nobody has used yet.
func adasNew(t *testing.T, r *fixtures) []string {
	return callsAs(openSession(t, r.env, r.ada.GetEmail()))
}

// newcomers is a caller whose account nobody else uses.
func newcomers(t *testing.T, r *fixtures) []string {
	return callsAs(openSession(t, r.env, signUp(t, r.env, r.address("newcomer")).GetEmail()))
}

// sessionCall is a call by a user of the fixtures; by is used instead where it is given.
func sessionCall(
	name, method, caller string, by func(*testing.T, *fixtures) []string, request func(*fixtures) proto.Message,
) corpusCase {
	return corpusCase{name: name, method: "SessionService/" + method, caller: caller, by: by, request: request}
}

func refreshes(name string, token func(*fixtures) string) corpusCase {
	return sessionCall("refresh: "+name, "RefreshSession", "", nil, func(r *fixtures) proto.Message {
		return &gatehousev1.RefreshSessionRequest{RefreshToken: token(r)}
	})
}

func noRefreshToken(name string, token func(*fixtures) string) corpusCase {
	return unauthenticated(refreshes(name, token), "REFRESH_TOKEN_INVALID")
}

// ofFresh changes the refresh token of a session that is good.
func ofFresh(change func(string) string) func(*fixtures) string {
	return func(r *fixtures) string { return change(r.spare.GetRefreshToken()) }
}

var refreshCases = []corpusCase{
	ok(checked(refreshes("everything in order", func(r *fixtures) string {
		return openSession(r.t, r.env, r.ada.GetEmail()).GetRefreshToken()
	}), refreshAnswer)),
	ok(func() corpusCase {
		c := refreshes("with an access token that is no good", func(r *fixtures) string {
			return openSession(r.t, r.env, r.ada.GetEmail()).GetRefreshToken()
		})
		c.caller = "garbage"
		return c
	}()),
	ok(checked(refreshes("again, as after a lost answer", func(r *fixtures) string {
		token := openSession(r.t, r.env, r.ada.GetEmail()).GetRefreshToken()
		refresh(r.t, r.env, token)
		return token
	}), refreshAnswer)),
	noRefreshToken("a truncated token", ofFresh(func(token string) string { return token[:len(token)-1] })),
	noRefreshToken("a token with something behind it", ofFresh(func(token string) string { return token + "A" })),
	noRefreshToken("a token with a line break", ofFresh(func(token string) string { return token[:40] + "\n" + token[40:] })),
	noRefreshToken("a flipped bit in the MAC", ofFresh(func(token string) string { return flipAt(token, 10) })),
	noRefreshToken("a flipped bit in the session id", ofFresh(func(token string) string { return flipAt(token, 35) })),
	noRefreshToken("a flipped bit in the number", ofFresh(func(token string) string { return flipAt(token, 55) })),
	noRefreshToken("a token of another system", func(r *fixtures) string {
		return "ghrt_" + base64.RawURLEncoding.EncodeToString(slices.Concat(
			uuid.MustParse(r.spare.GetSessionId()).NodeID(), make([]byte, 50)))
	}),
	noRefreshToken("an access token", func(r *fixtures) string { return r.spare.GetAccessToken() }),
	noRefreshToken("garbage", fixed("garbage")),
	unauthenticated(refreshes("of a session that was ended", func(r *fixtures) string {
		return r.ended.GetRefreshToken()
	}), "SESSION_ENDED"),
	unauthenticated(refreshes("of a session that ended by a theft", func(r *fixtures) string {
		return r.stolen.GetRefreshToken()
	}), "REFRESH_TOKEN_REUSED"),
	invalid(refreshes("no token", fixed("")), "refresh_token REQUIRED"),
	invalid(refreshes("an oversized token", fixed("ghrt_"+strings.Repeat("A", 1024))), "refresh_token STRING_MAX_BYTES"),
}

func flipAt(token string, at int) string { return token[:at] + string(other(token[at])) + token[at+1:] }

func readsSession(name, caller string, id func(*fixtures) string) corpusCase {
	return sessionCall("session: "+name, "ReadSession", caller, nil, func(r *fixtures) proto.Message {
		return &gatehousev1.ReadSessionRequest{Id: id(r)}
	})
}

func noSession(c corpusCase) corpusCase {
	c.code, c.http, c.reason = codes.NotFound, http.StatusNotFound, "SESSION_NOT_FOUND"
	return c
}

func bobsSession(r *fixtures) string  { return r.bobs.GetSessionId() }
func spareSession(r *fixtures) string { return r.spare.GetSessionId() }
func endedSession(r *fixtures) string { return r.ended.GetSessionId() }
func nobodys(*fixtures) string        { return uuid.NewString() }

var readSessionCases = []corpusCase{
	ok(checked(readsSession("current", "ada", fixed("current")), introspection)),
	ok(checked(readsSession("current by its id", "ada", func(r *fixtures) string { return r.own.GetSessionId() }), introspection)),
	ok(checked(readsSession("another of mine", "ada", spareSession), anotherSession)),
	ok(checked(readsSession("another of mine, in capitals", "ada", func(r *fixtures) string {
		return strings.ToUpper(r.spare.GetSessionId())
	}), anotherSession)),
	noSession(readsSession("somebody else's", "ada", bobsSession)),
	noSession(readsSession("nobody's", "ada", nobodys)),
	noSession(readsSession("one that has ended", "ada", endedSession)),
	invalid(readsSession("an id that is no UUID", "ada", fixed("42")), "id SESSION_ID"),
	invalid(readsSession("an id with something behind it", "ada", func(r *fixtures) string {
		return r.own.GetSessionId() + "0"
	}), "id SESSION_ID"),
	unauthenticated(readsSession("without a token", "nobody", fixed("current")), "ACCESS_TOKEN_MISSING"),
	unauthenticated(readsSession("with a flipped bit", "a flipped bit in the signature", fixed("current")), "ACCESS_TOKEN_INVALID"),
	unauthenticated(readsSession("with a token of a session that has ended", "ended", fixed("current")), "SESSION_ENDED"),
	unauthenticated(readsSession("with a token of a stolen session", "stolen", fixed("current")), "SESSION_ENDED"),
	unauthenticated(reads("with a token of a session that has ended", "ended", fixed("me")), "SESSION_ENDED"),
}

func listsSessions(name, caller string, page func(*fixtures) string, size int32) corpusCase {
	return sessionCall("sessions: "+name, "ListSessions", caller, nil, func(r *fixtures) proto.Message {
		return &gatehousev1.ListSessionsRequest{PageSize: size, PageToken: page(r)}
	})
}

func noPage(name string, page func(*fixtures) string) corpusCase {
	c := listsSessions(name, "ada", page, 1)
	c.code, c.http, c.reason = codes.InvalidArgument, http.StatusBadRequest, "PAGE_TOKEN_INVALID"
	return c
}

var listSessionsCases = []corpusCase{
	ok(checked(listsSessions("the first page", "ada", fixed(""), 0), newestFirst)),
	ok(listsSessions("the greatest page", "ada", fixed(""), 100)),
	ok(listsSessions("the second page", "ada", func(r *fixtures) string { return r.page }, 1)),
	noPage("a page token of another's list", func(r *fixtures) string { return r.bobsPage }),
	noPage("a tampered page token", func(r *fixtures) string { return flipAt(r.page, 50) }),
	noPage("a tampered MAC of a page token", func(r *fixtures) string { return flipAt(r.page, 5) }),
	noPage("a truncated page token", func(r *fixtures) string { return r.page[:20] }),
	noPage("garbage for a page token", fixed("é")),
	invalid(listsSessions("less than nothing", "ada", fixed(""), -1), "page_size INT32_GTE_LTE"),
	invalid(listsSessions("too large a page", "ada", fixed(""), 101), "page_size INT32_GTE_LTE"),
	invalid(listsSessions("an oversized page token", "ada", fixed(strings.Repeat("A", 1025)), 1), "page_token STRING_MAX_BYTES"),
	unauthenticated(listsSessions("without a token", "nobody", fixed(""), 1), "ACCESS_TOKEN_MISSING"),
	unauthenticated(listsSessions("with a token of a session that has ended", "ended", fixed(""), 1), "SESSION_ENDED"),
}

func logsOut(name, caller string, by func(*testing.T, *fixtures) []string, id func(*fixtures) string) corpusCase {
	return sessionCall("log out: "+name, "DeleteSession", caller, by, func(r *fixtures) proto.Message {
		return &gatehousev1.DeleteSessionRequest{Id: id(r)}
	})
}

func logsOutEverywhere(name, caller string, by func(*testing.T, *fixtures) []string, keep bool) corpusCase {
	return sessionCall("log out everywhere: "+name, "DeleteAllSessions", caller, by, func(*fixtures) proto.Message {
		return &gatehousev1.DeleteAllSessionsRequest{KeepCurrent: keep}
	})
}

var logOutCases = []corpusCase{
	ok(logsOut("of my own session", "", adasNew, fixed("current"))),
	ok(logsOut("of another of mine", "ada", nil, func(r *fixtures) string {
		return openSession(r.t, r.env, r.ada.GetEmail()).GetSessionId()
	})),
	ok(logsOut("of one that has ended", "ada", nil, endedSession)),
	noSession(logsOut("of somebody else's", "ada", nil, bobsSession)),
	noSession(logsOut("of nobody's", "ada", nil, nobodys)),
	invalid(logsOut("of an id that is no UUID", "ada", nil, fixed("me")), "id SESSION_ID"),
	unauthenticated(logsOut("without a token", "nobody", nil, fixed("current")), "ACCESS_TOKEN_MISSING"),
	unauthenticated(logsOut("twice", "ended", nil, fixed("current")), "SESSION_ENDED"),
	ok(checked(logsOutEverywhere("all", "", newcomers, false), loggedOutEverywhere)),
	ok(checked(logsOutEverywhere("all but this", "", newcomers, true), loggedOutElsewhere)),
	unauthenticated(logsOutEverywhere("without a token", "nobody", nil, true), "ACCESS_TOKEN_MISSING"),
	unauthenticated(logsOutEverywhere("with a token of a session that has ended", "ended", nil, false), "SESSION_ENDED"),
}

const newPassword = "a new password that stands nowhere else"

func changesPassword(
	name, caller string, by func(*testing.T, *fixtures) []string, change func(*fixtures, *gatehousev1.ChangePasswordRequest),
) corpusCase {
	return sessionCall("change password: "+name, "ChangePassword", caller, by, func(r *fixtures) proto.Message {
		request := &gatehousev1.ChangePasswordRequest{Id: "me", CurrentPassword: adasPassword, NewPassword: newPassword}
		change(r, request)
		return request
	})
}

func asItIs(*fixtures, *gatehousev1.ChangePasswordRequest) {}

func wrongPassword(c corpusCase) corpusCase {
	c.code, c.http, c.reason = codes.PermissionDenied, http.StatusForbidden, "PASSWORD_WRONG"
	return c
}

var changePasswordCases = []corpusCase{
	ok(checked(changesPassword("everything in order", "", newcomers, asItIs), passwordChanged)),
	wrongPassword(changesPassword("wrong present password", "ada", nil, func(_ *fixtures, request *gatehousev1.ChangePasswordRequest) {
		request.CurrentPassword = "another password that stands nowhere"
	})),
	wrongPassword(changesPassword("the new password for the present one", "ada", nil, func(_ *fixtures, request *gatehousev1.ChangePasswordRequest) {
		request.CurrentPassword = newPassword
	})),
	notFound(changesPassword("somebody else's", "ada", nil, func(r *fixtures, request *gatehousev1.ChangePasswordRequest) {
		request.Id = r.bob.GetId()
	})),
	invalid(changesPassword("nothing but the id", "ada", nil, func(_ *fixtures, request *gatehousev1.ChangePasswordRequest) {
		request.CurrentPassword, request.NewPassword = "", ""
	}), "current_password REQUIRED", "new_password REQUIRED"),
	invalid(changesPassword("a short password", "ada", nil, func(_ *fixtures, request *gatehousev1.ChangePasswordRequest) {
		request.NewPassword = "1234567"
	}), "new_password STRING_MIN_LEN"),
	invalid(changesPassword("a password of 8 characters that become 4", "ada", nil, func(_ *fixtures, request *gatehousev1.ChangePasswordRequest) {
		request.NewPassword = strings.Repeat("e\u0301", 4)
	}), "new_password STRING_MIN_LEN"),
	invalid(changesPassword("a common password", "ada", nil, func(_ *fixtures, request *gatehousev1.ChangePasswordRequest) {
		request.NewPassword = "Iloveyou1"
	}), "new_password PASSWORD_TOO_COMMON"),
	invalid(changesPassword("the address for a password", "ada", nil, func(r *fixtures, request *gatehousev1.ChangePasswordRequest) {
		request.NewPassword = strings.ToUpper(r.ada.GetEmail())
	}), "new_password PASSWORD_OF_ACCOUNT"),
	invalid(changesPassword("passwords of 1,025 bytes", "ada", nil, func(_ *fixtures, request *gatehousev1.ChangePasswordRequest) {
		request.CurrentPassword, request.NewPassword = strings.Repeat("p", 1025), strings.Repeat("p", 1025)
	}), "current_password STRING_MAX_BYTES", "new_password STRING_MAX_BYTES"),
	invalid(changesPassword("an id that is no UUID", "ada", nil, func(_ *fixtures, request *gatehousev1.ChangePasswordRequest) {
		request.Id = "42"
	}), "id USER_ID"),
	unauthenticated(changesPassword("without a token", "nobody", nil, asItIs), "ACCESS_TOKEN_MISSING"),
	unauthenticated(changesPassword("with a token of a session that has ended", "ended", nil, asItIs), "SESSION_ENDED"),
}

func refreshAnswer(t *testing.T, r *fixtures, message proto.Message) {
	answer := message.(*gatehousev1.RefreshSessionResponse)
	session := answer.GetSession()
	if answer.GetTokenType() != "Bearer" || answer.GetExpiresIn() != 900 || answer.GetAccessToken() == "" ||
		!strings.HasPrefix(answer.GetRefreshToken(), "ghrt_") || answer.GetSessionId() != session.GetId() ||
		session.GetUserId() != r.ada.GetId() || !session.GetCurrent() ||
		answer.GetExpireTime() == nil || tellsWhen(session) {
		t.Errorf("answer is %v", answer)
	}
}

func introspection(t *testing.T, r *fixtures, message proto.Message) {
	shown := message.(*gatehousev1.ReadSessionResponse)
	if !shown.GetActive() || shown.GetSub() != r.ada.GetId() || !proto.Equal(shown.GetUser(), r.ada) ||
		!shown.GetSession().GetCurrent() || shown.GetSession().GetId() != r.own.GetSessionId() ||
		shown.GetTokenType() != "Bearer" || shown.GetIss() != "http://localhost:8080" || shown.GetAud() != "gatehouse" ||
		shown.GetExp()-shown.GetIat() != 900 || shown.GetJti() == "" || !slices.Equal(shown.GetRoles(), []string{"user"}) ||
		tellsWhen(shown.GetSession()) || shown.GetSession().GetClientAddress() != "127.0.0.1" || shown.GetSession().GetUserAgent() == "" {
		t.Errorf("shown is %v", shown)
	}
}

func anotherSession(t *testing.T, r *fixtures, message proto.Message) {
	shown := message.(*gatehousev1.ReadSessionResponse)
	if !shown.GetActive() || shown.GetSub() != r.ada.GetId() || shown.GetSession().GetCurrent() ||
		shown.GetSession().GetId() != r.spare.GetSessionId() || shown.Exp != nil || shown.Jti != nil || shown.GetRoles() != nil {
		t.Errorf("shown is %v", shown)
	}
}

func newestFirst(t *testing.T, r *fixtures, message proto.Message) {
	page := message.(*gatehousev1.ListSessionsResponse)
	if len(page.GetSessions()) < 2 {
		t.Errorf("the page has %d sessions", len(page.GetSessions()))
	}
	for i, session := range page.GetSessions() {
		if session.GetUserId() != r.ada.GetId() || session.GetCurrent() != (session.GetId() == r.own.GetSessionId()) ||
			tellsWhen(session) || session.GetId() == r.ended.GetSessionId() || session.GetId() == r.stolen.GetSessionId() {
			t.Errorf("session %d is %v", i, session)
		}
		if i > 0 && session.GetCreateTime().AsTime().After(page.GetSessions()[i-1].GetCreateTime().AsTime()) {
			t.Errorf("session %d is newer than the one before", i)
		}
	}
}

func loggedOutEverywhere(t *testing.T, _ *fixtures, message proto.Message) {
	answer := message.(*gatehousev1.DeleteAllSessionsResponse)
	if answer.GetUser().GetVersion() != 2 || answer.GetUser().GetSessionGeneration() != 1 || answer.GetSession() != nil {
		t.Errorf("answer is %v", answer)
	}
}

// tellsWhen reports whether an answer tells when the owner of a session last refreshed it.
func tellsWhen(session *gatehousev1.Session) bool {
	return session.GetVersion() != 0 ||
		session.GetCurrent() && (session.GetLastUseTime() != nil || session.GetExpireTime() != nil)
}

func loggedOutElsewhere(t *testing.T, _ *fixtures, message proto.Message) {
	answer := message.(*gatehousev1.DeleteAllSessionsResponse)
	if answer.GetUser().GetVersion() != 2 || answer.GetSession().GetGeneration() != 1 || !answer.GetSession().GetCurrent() ||
		tellsWhen(answer.GetSession()) || answer.GetAccessToken() == "" || answer.GetRefreshToken() == "" {
		t.Errorf("answer is %v", answer)
	}
}

func passwordChanged(t *testing.T, _ *fixtures, message proto.Message) {
	answer := message.(*gatehousev1.ChangePasswordResponse)
	if answer.GetUser().GetVersion() != 2 || answer.GetSession().GetGeneration() != 1 || !answer.GetSession().GetCurrent() ||
		tellsWhen(answer.GetSession()) || answer.GetAccessToken() == "" || answer.GetRefreshToken() == "" {
		t.Errorf("answer is %v", answer)
	}
}

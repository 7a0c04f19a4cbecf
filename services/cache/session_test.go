package cache_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

func (f *front) logOut(ctx context.Context, token, id string) error {
	_, err := f.sessions.DeleteSession(as(ctx, token), &gatehousev1.DeleteSessionRequest{Id: id})
	return err
}

func (f *front) logOutEverywhere(ctx context.Context, token string, keepCurrent bool) error {
	_, err := f.sessions.DeleteAllSessions(as(ctx, token),
		&gatehousev1.DeleteAllSessionsRequest{KeepCurrent: keepCurrent})
	return err
}

func (f *front) changePassword(ctx context.Context, token string) (*gatehousev1.ChangePasswordResponse, error) {
	return f.sessions.ChangePassword(as(ctx, token), &gatehousev1.ChangePasswordRequest{
		Id: authn.Me, CurrentPassword: password, NewPassword: password + "!",
	})
}

func (f *front) refresh(ctx context.Context, refreshToken string) (*gatehousev1.RefreshSessionResponse, error) {
	return f.sessions.RefreshSession(ctx, &gatehousev1.RefreshSessionRequest{RefreshToken: refreshToken})
}

// steal ends a session by a refresh token that was traded already.
func (f *front) steal(t *testing.T, refreshToken string) {
	t.Helper()
	_, err := f.refresh(t.Context(), refreshToken)
	wantError(t, err, codes.Unauthenticated, tokenReused)
}

// household is a user who is logged in twice, on a phone and a laptop, as every cache service knows.
type household struct {
	*house

	user          string
	phone, laptop *gatehousev1.CreateSessionResponse
	tablet        string // a token of a session that no cache service knows, if there is one
}

func newHousehold(t *testing.T, fronts int) *household {
	t.Helper()
	h, _, _ := newRedisTown(t, fronts)
	return h.household(t)
}

func (h *house) household(t *testing.T) *household {
	t.Helper()
	return h.householdOf(t, "ada@example.com")
}

func (h *house) householdOf(t *testing.T, email string) *household {
	t.Helper()
	made := &household{house: h, user: h.signUp(t, email), phone: h.logIn(t, email), laptop: h.logIn(t, email)}
	for _, f := range h.others {
		f.wantIn(t, h.store, made.phone.GetAccessToken())
		f.wantIn(t, h.store, made.laptop.GetAccessToken())
		f.wantIn(t, h.store, h.admin)
	}
	return made
}

func TestWhatHasEndedIsRefusedEverywhere(t *testing.T) {
	t.Parallel()
	for name, way := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHousehold(t, 2)
			another, before := h.store.another(h.phone.GetAccessToken()), h.store.readCount()
			if err := way.end(t, h, h.others[1]); err != nil {
				t.Fatal(err)
			}
			h.wantOut(t, h.phone.GetAccessToken(), sessionEnded)
			h.wantOut(t, another, sessionEnded)
			if way.spares {
				for _, f := range h.others {
					f.wantIn(t, h.store, h.laptop.GetAccessToken())
				}
			} else {
				h.wantOut(t, h.laptop.GetAccessToken(), sessionEnded)
			}
			// What the cache does not know by itself, it asks once for each session, but for those of a deleted user.
			if asked := h.store.readCount() - before; asked > 2 && h.store.user(h.user) != nil {
				t.Errorf("the store was asked %d times", asked)
			}
		})
	}
}

func TestATombstoneNeedsNoStore(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, 2)
	if err := h.logOut(t.Context(), h.phone.GetAccessToken(), authn.Current); err != nil {
		t.Fatal(err)
	}
	before := h.store.readCount()
	for range 5 {
		h.wantOut(t, h.phone.GetAccessToken(), sessionEnded)
	}
	h.wantReads(t, before)
	_, err := h.me(t.Context(), h.phone.GetAccessToken())
	ended, of := apierr.EndedSession(apierr.Status(err))
	if ended != h.phone.GetSessionId() || of != h.user {
		t.Errorf("the error is about session %q of user %q", ended, of)
	}
}

// The store may know more than this cache: somebody may have spoken to it directly.
func TestAnyErrorThatNamesAnEndedSessionEndsItHere(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(ctx context.Context, f *front, h *household) error{
		"ListSessions": func(ctx context.Context, f *front, h *household) error {
			_, err := f.sessions.ListSessions(as(ctx, h.phone.GetAccessToken()), &gatehousev1.ListSessionsRequest{})
			return err
		},
		"ReadSession": func(ctx context.Context, f *front, h *household) error {
			_, err := f.sessions.ReadSession(as(ctx, h.phone.GetAccessToken()),
				&gatehousev1.ReadSessionRequest{Id: h.laptop.GetSessionId()})
			return err
		},
		"RefreshSession": func(ctx context.Context, f *front, h *household) error {
			_, err := f.refresh(ctx, h.phone.GetRefreshToken())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHousehold(t, 2)
			h.store.end(h.phone.GetAccessToken())
			wantError(t, call(t.Context(), h.others[1], h), codes.Unauthenticated, sessionEnded)
			before := h.store.readCount()
			h.wantOut(t, h.phone.GetAccessToken(), sessionEnded)
			h.wantReads(t, before)
		})
	}
}

func TestRefreshIsSeenEverywhere(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, 2)
	before := h.store.readCount()
	refreshed, err := h.refresh(t.Context(), h.phone.GetRefreshToken())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range h.others {
		f.wantIn(t, h.store, refreshed.GetAccessToken())
		f.wantIn(t, h.store, h.phone.GetAccessToken())
	}
	h.wantReads(t, before)
}

func TestSessionsOfOthersAreNotFound(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, 1)
	h.signUp(t, "grace@example.com")
	stranger := h.logIn(t, "grace@example.com")
	err := h.logOut(t.Context(), stranger.GetAccessToken(), h.phone.GetSessionId())
	wantError(t, err, codes.NotFound, gatehousev1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND)
	h.wantIn(t, h.store, h.phone.GetAccessToken())
}

func TestOtherSessionsAreAskedForAtTheStore(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, 1)
	before := h.store.readCount()
	response, err := h.sessions.ReadSession(as(t.Context(), h.phone.GetAccessToken()),
		&gatehousev1.ReadSessionRequest{Id: h.laptop.GetSessionId()})
	if err != nil || !proto.Equal(response.GetSession(), authn.ShowSession(t.Context(), h.store.session(h.laptop.GetAccessToken()))) {
		t.Errorf("read: %v, error %v", response, err)
	}
	h.wantReads(t, before+1)
}

// lose loses the answers to changes.
func lose(_ context.Context, method, _ string) error {
	if method == "RefreshSession" || strings.HasPrefix(method, "Read") {
		return nil // Whose session a refresh token is of, the cache cannot know.
	}
	return apierr.Unavailable(nil)
}

// A change whose answer is lost may have been made: nothing of before is believed any more.
func TestAChangeThatMayHaveFailedIsNotIgnored(t *testing.T) {
	t.Parallel()
	for name, way := range ends {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHousehold(t, 2)
			h.store.hook(nil, lose)
			err := way.end(t, h, h.others[1])
			if name != "reuse a refresh token" {
				wantError(t, err, codes.Unavailable, unavailable)
			}
			h.wantOut(t, h.phone.GetAccessToken(), sessionEnded)
		})
	}
}

// A thief who gives up at once does not keep the cache from hearing that the session has ended.
func TestAChangeGoesOnWhenItsCallerGivesUp(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, 1)
	if _, err := h.refresh(t.Context(), h.phone.GetRefreshToken()); err != nil {
		t.Fatal(err)
	}
	seen, answer := h.store.hold("RefreshSession")
	ctx, giveUp := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := h.refresh(ctx, h.phone.GetRefreshToken())
		ended <- err
	}()
	<-seen
	giveUp()
	if err := <-ended; status.Code(err) != codes.Canceled {
		t.Errorf("who gave up got %v", err)
	}
	close(answer)
	testkit.Eventually(t, func() error {
		if _, err := h.me(t.Context(), h.phone.GetAccessToken()); apierr.ReasonOf(status.Convert(err)) != sessionEnded {
			return fmt.Errorf("the session has ended, and the answer is of %s", status.Code(err))
		}
		return nil
	})
}

// TestAReplacedSession: its tokens are refused at once at each cache service, and the new one is served from the cache.
func TestAReplacedSession(t *testing.T) {
	for name, replace := range map[string]func(h *household) (token string, err error){
		"change of the password": func(h *household) (string, error) {
			response, err := h.changePassword(t.Context(), h.laptop.GetAccessToken())
			return response.GetAccessToken(), err
		},
		"log-out everywhere else": func(h *household) (string, error) {
			response, err := h.sessions.DeleteAllSessions(as(t.Context(), h.laptop.GetAccessToken()),
				&gatehousev1.DeleteAllSessionsRequest{KeepCurrent: true})
			return response.GetAccessToken(), err
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHousehold(t, 2)
			token, err := replace(h)
			if err != nil {
				t.Fatal(err)
			}
			reads := h.store.readCount()
			for _, f := range h.others {
				_, err := f.sessions.ReadSession(as(t.Context(), h.laptop.GetAccessToken()),
					&gatehousev1.ReadSessionRequest{Id: authn.Current})
				wantError(t, err, codes.Unauthenticated, sessionEnded)
				if _, err := f.sessions.ReadSession(as(t.Context(), token), &gatehousev1.ReadSessionRequest{Id: authn.Current}); err != nil {
					t.Errorf("the new session: %v", err)
				}
			}
			if got := h.store.readCount(); got != reads {
				t.Errorf("the store was asked %d times", got-reads)
			}
		})
	}
}

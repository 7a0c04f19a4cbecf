package cache_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/cache"
)

func TestDeleteUser(t *testing.T) {
	t.Parallel()
	// An address is free again when its account is deleted, and what is known of the old account is nothing of the new.
	t.Run("the_address_can_be_reused", func(t *testing.T) {
		t.Parallel()
		fix := newAccountFixture(t, 2)
		if err := fix.replicas[1].deleteUser(t.Context(), fix.phone.GetAccessToken(), authn.Me); err != nil {
			t.Fatal(err)
		}
		if again := fix.signUp(t, "ada@example.com"); again == fix.user {
			t.Fatal("the id was given again")
		}
		token := fix.logIn(t, "ada@example.com").GetAccessToken()
		for _, r := range fix.replicas {
			r.wantIn(t, fix.store, token)
		}
		fix.wantDeleted(t)
	})
	// A user who deletes the own account receives SESSION_ENDED, whether or not the store is reachable.
	t.Run("rejects_the_user_without_the_store", func(t *testing.T) {
		t.Parallel()
		fix := newAccountFixture(t, 2)
		if err := fix.replicas[1].deleteUser(t.Context(), fix.phone.GetAccessToken(), authn.Me); err != nil {
			t.Fatal(err)
		}
		fix.store.hook(func(context.Context, string, string) error { return apierr.Unavailable(nil) }, nil)
		fix.wantOut(t, fix.phone.GetAccessToken(), sessionEnded)
		for _, r := range fix.replicas {
			if _, err := r.me(t.Context(), fix.laptop.GetAccessToken()); err == nil {
				t.Error("a session of a deleted user is let in")
			}
		}
	})
}

func TestUpdateUser(t *testing.T) {
	t.Parallel()
	t.Run("is_visible_everywhere", func(t *testing.T) {
		t.Parallel()
		for name, way := range updates {
			for outcome, after := range map[string]hook{"and told": nil, "and lost": loseAnswer} {
				t.Run(name+" "+outcome, func(t *testing.T) {
					t.Parallel()
					fix := newAccountFixture(t, 2)
					fix.store.hook(nil, after)
					if err := way.end(t, fix, fix.replicas[1]); (err != nil) != (after != nil) {
						t.Fatal(err)
					}
					for _, r := range fix.replicas {
						r.wantIn(t, fix.store, fix.phone.GetAccessToken())
						r.wantIn(t, fix.store, fix.laptop.GetAccessToken())
					}
				})
			}
		}
	})
	// Once the store has told the cache what a change made of a user, nobody has to ask it again.
	t.Run("is_cached", func(t *testing.T) {
		t.Parallel()
		for name, way := range updates {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				fix := newAccountFixture(t, 2)
				before := fix.store.readCount()
				if err := way.end(t, fix, fix.replicas[1]); err != nil {
					t.Fatal(err)
				}
				for _, r := range fix.replicas {
					r.wantIn(t, fix.store, fix.phone.GetAccessToken())
				}
				fix.wantReads(t, before)
			})
		}
	})
}

func TestCreateUser(t *testing.T) {
	t.Parallel()
	t.Run("and_log_in_fill_the_cache", func(t *testing.T) {
		t.Parallel()
		env := newEnv(t, 1)
		// The run of a Redis is known from the first use of it: until then nothing may be kept.
		env.read(t, env.store.put("grace@example.com"))
		env.signUp(t, "ada@example.com")
		env.wantIn(t, env.store, env.logIn(t, "ada@example.com").GetAccessToken())
		env.wantReads(t, 1)
		_, err := env.users.CreateUser(t.Context(),
			&gatehousev1.CreateUserRequest{Email: "ada@example.com", FullName: "Ada", Password: password})
		wantError(t, err, codes.AlreadyExists, gatehousev1.ErrorReason_ERROR_REASON_EMAIL_TAKEN)
	})
}

func TestReadUser(t *testing.T) {
	t.Parallel()
	t.Run("a_hit_needs_no_call_of_the_store", func(t *testing.T) {
		t.Parallel()
		for name, start := range map[string]func(*testing.T) *testEnv{
			"shared": func(t *testing.T) *testEnv { t.Helper(); return newEnv(t, 1) },
			"memory": func(t *testing.T) *testEnv {
				t.Helper()
				cfg := config("")
				cfg.Backend = cache.BackendMemory
				return newTestEnv(t, cfg)
			},
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				env := start(t)
				id := env.store.put("ada@example.com")
				for range 5 {
					env.read(t, id)
				}
				env.wantReads(t, 1)
			})
		}
	})
	t.Run("another_user_is_not_found_without_a_call_of_the_store", func(t *testing.T) {
		t.Parallel()
		env := newEnv(t, 1)
		id, other := env.store.put("ada@example.com"), env.store.put("grace@example.com")
		env.read(t, other) // So that the cache could answer.
		env.read(t, id)
		for _, foreign := range []string{other, uuid.NewString()} {
			_, err := env.users.ReadUser(as(t.Context(), env.tokens[id]), &gatehousev1.ReadUserRequest{Id: foreign})
			wantError(t, err, codes.NotFound, gatehousev1.ErrorReason_ERROR_REASON_USER_NOT_FOUND)
		}
		env.wantReads(t, 2)
	})
	t.Run("returns_the_errors_of_the_store", func(t *testing.T) {
		t.Parallel()
		env := newEnv(t, 1)
		id := env.store.put("ada@example.com")
		want := status.Convert(apierr.Overloaded(3 * time.Second))
		env.store.hook(func(context.Context, string, string) error { return want.Err() }, nil)
		_, err := env.me(t.Context(), env.store.token(id))
		if got := status.Convert(err); !proto.Equal(got.Proto(), want.Proto()) {
			t.Errorf("error %v, want %v", got, want)
		}
		env.store.hook(nil, nil)
		env.read(t, id) // The error is not cached.
	})
	// Admins see what is not kept, so the store answers them, about themselves as well.
	t.Run("admins_read_from_the_store", func(t *testing.T) {
		t.Parallel()
		fix := newAccountFixture(t, 1)
		admin := fix.store.session(fix.admin).GetUserId()
		for _, id := range []string{fix.user, strings.ToUpper(fix.user), admin, authn.Me} {
			before := fix.store.readCount()
			response, err := fix.users.ReadUser(as(t.Context(), fix.admin), &gatehousev1.ReadUserRequest{Id: id})
			want := fix.store.user(strings.ToLower(id))
			if id == authn.Me {
				want = fix.store.user(admin)
			}
			if err != nil || !proto.Equal(response.GetUser(), want) || response.GetUser().GetAppMetadata() == nil {
				t.Errorf("read %s: %v, error %v, want %v", id, response.GetUser(), err, want)
			}
			fix.wantReads(t, before+1)
		}
		wantError(t, fix.deleteUser(t.Context(), fix.admin, authn.Me), codes.FailedPrecondition,
			gatehousev1.ErrorReason_ERROR_REASON_LAST_ADMIN)
		before := fix.store.readCount()
		if err := fix.listUsers(t.Context(), fix.admin); err != nil {
			t.Error(err)
		}
		fix.wantReads(t, before) // That one is the last admin tells nothing of what is known.
	})
}

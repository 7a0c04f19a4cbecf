package authn_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gatehouse-auth/gatehouse/internal/authn"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

const recentLoginRequired = gatehousev1.ErrorReason_ERROR_REASON_RECENT_LOGIN_REQUIRED

// TestContract/admin_methods_that_change_something… fails for a method that a later contract adds and forgets.
func TestContract(t *testing.T) {
	t.Run("admin_methods_that_change_something_require_a_recent_log-in", func(t *testing.T) {
		for _, service := range services {
			found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service))
			if err != nil {
				t.Fatal(err)
			}
			methods := found.(protoreflect.ServiceDescriptor).Methods()
			for i := range methods.Len() {
				method := methods.Get(i)
				policy := proto.GetExtension(method.Options(), gatehousev1.E_Policy)
				reads := strings.HasPrefix(string(method.Name()), "List") || strings.HasPrefix(string(method.Name()), "Read")
				recent := proto.GetExtension(method.Options(), gatehousev1.E_RecentLogin)
				if policy == gatehousev1.Policy_POLICY_ADMIN && recent == reads {
					t.Errorf("%s: recent_login is %v", method.FullName(), recent)
				}
			}
		}
	})
}

func TestAdmit(t *testing.T) {
	const resetPassword = "/gatehouse.v1.AdminService/ResetUserPassword"
	t.Run("a_method_that_requires_a_recent_log-in_refuses_an_older_session", func(t *testing.T) {
		h := newTestEnv(t)
		policies, err := authn.LoadPolicies(services...)
		if err != nil {
			t.Fatal(err)
		}
		now := h.clock.Now()
		for name, test := range map[string]struct {
			tokenAge   time.Duration // of auth_time; below 0: the claim is missing
			sessionAge time.Duration // below 0: the server loads no accounts
			want       gatehousev1.ErrorReason
		}{
			"new":                                {0, 0, admitted},
			"10 minutes old":                     {10 * time.Minute, 10 * time.Minute, admitted},
			"older":                              {10 * time.Minute, 10*time.Minute + time.Microsecond, recentLoginRequired},
			"the token claims a newer one":       {0, time.Hour, recentLoginRequired},
			"no auth_time beside an account":     {-1, time.Minute, admitted},
			"gateway, new":                       {0, -1, admitted},
			"gateway, 10 minutes old":            {10 * time.Minute, -1, admitted},
			"gateway, older":                     {10*time.Minute + time.Second, -1, recentLoginRequired},
			"gateway, a token without auth_time": {-1, -1, recentLoginRequired},
		} {
			t.Run(name, func(t *testing.T) {
				claims := with(h.claims(), "roles", asAdmin)
				if test.tokenAge >= 0 {
					claims = with(claims, "auth_time", now.Add(-test.tokenAge).Unix())
				}
				var load authn.LoadAccount
				if test.sessionAge >= 0 {
					load = func(context.Context, authn.Caller) (authn.Account, error) {
						account := accountUntil(now, 0, 0)
						account.User.Roles = asAdmin
						account.Session.CreateTime = timestamppb.New(now.Add(-test.sessionAge))
						return account, nil
					}
				}
				ctx := incoming(t, "Bearer "+h.edDSA.token(t, claims))
				authenticator := authn.NewAuthenticator(policies, h.Verifier, load)
				for range 2 { // The second time the token is remembered.
					if _, err := authenticator.Admit(ctx, resetPassword); test.want != admitted {
						wantReason(t, err, test.want)
					} else if err != nil {
						t.Error(err)
					}
				}
				if _, err := authenticator.Admit(ctx, listUsers); err != nil {
					t.Errorf("a method that reads: %v", err)
				}
			})
		}
	})
	t.Run("the_role_is_checked_before_the_log-in", func(t *testing.T) {
		h := newTestEnv(t)
		token := h.edDSA.token(t, with(h.claims(), "auth_time", h.clock.Now().Add(-time.Hour).Unix()))
		_, err := newAuthenticator(t, h).Admit(incoming(t, "Bearer "+token), resetPassword)
		wantReason(t, err, roleRequired)
	})
}

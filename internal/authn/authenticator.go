package authn

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// AuthorizationKey is the metadata key under which a caller's token travels from hop to hop.
const AuthorizationKey = "authorization"

// MinServiceToken is the length of the shortest service token, in bytes: too long to be guessed.
const MinServiceToken = 32

// ValidateServiceToken reports an error if a token can be guessed, or cannot be sent in a header. The error does not
// contain the token.
func ValidateServiceToken(token string) error {
	if len(token) < MinServiceToken || len(token) > 1024 {
		return fmt.Errorf("the service token has %d characters, not %d to 1024", len(token), MinServiceToken)
	}
	if strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("the service token has characters that are not visible ASCII")
	}
	return nil
}

// ValidateSecondServiceToken reports the same as ValidateServiceToken, for a token that may be empty.
func ValidateSecondServiceToken(token string) error {
	if token == "" {
		return nil
	}
	if err := ValidateServiceToken(token); err != nil {
		return fmt.Errorf("second service token: %w", err)
	}
	return nil
}

// Authenticator enforces the policies: it admits a call or returns an error with the reason.
type Authenticator struct {
	policies Policies
	verifier *Verifier
	load     LoadAccount
	services [][sha256.Size]byte // digests of the service tokens; empty where no service is admitted
}

// NewAuthenticator returns an authenticator for the methods that the policies name. It rejects all others. With load it
// also rejects a caller whose session is not active; without, as in the gateway, the service that answers the call
// does.
func NewAuthenticator(policies Policies, verifier *Verifier, load LoadAccount) *Authenticator {
	return &Authenticator{policies: policies, verifier: verifier, load: load}
}

// Admit checks a call by the policy of its method, with the token in the incoming metadata. The context that it returns
// carries the caller if the policy requires one, and the account if accounts are loaded.
func (a *Authenticator) Admit(ctx context.Context, method string) (context.Context, error) {
	required := a.policies[method]
	switch required.Policy {
	case gatehousev1.Policy_POLICY_PUBLIC:
		return ctx, nil
	case gatehousev1.Policy_POLICY_AUTHENTICATED, gatehousev1.Policy_POLICY_ADMIN:
		ctx, err := a.admitCaller(ctx)
		if err == nil {
			err = a.checkCaller(ctx, required)
		}
		return ctx, err
	case gatehousev1.Policy_POLICY_SERVICE:
		return ctx, a.AdmitPeer(ctx, method)
	default:
		return ctx, apierr.RouteNotFound("method not found")
	}
}

// checkCaller reports an error unless an admitted caller has the role and the recent log-in that a method requires.
func (a *Authenticator) checkCaller(ctx context.Context, required Requirement) error {
	if required.Policy == gatehousev1.Policy_POLICY_ADMIN && !IsAdmin(ctx) {
		return apierr.RoleRequired()
	}
	if required.RecentLogin {
		return CheckRecentLogin(ctx, a.verifier.now())
	}
	return nil
}

func (a *Authenticator) admitCaller(ctx context.Context) (context.Context, error) {
	token, err := bearer(ctx)
	if err != nil {
		return ctx, err
	}
	caller, err := a.verifier.Verify(ctx, token)
	if err != nil {
		return ctx, err
	}
	return a.withAccount(WithCaller(ctx, caller), caller)
}

func (a *Authenticator) withAccount(ctx context.Context, caller Caller) (context.Context, error) {
	if a.load == nil {
		return ctx, nil
	}
	account, err := a.load(ctx, caller)
	if err != nil {
		return ctx, err
	}
	return WithAccount(ctx, account), nil
}

// Interceptor applies AdmitPeer and Admit to every unary call of a server. The open methods, by their full names, may
// be called by any client that does not claim to be a service: a service with a wrong credential is rejected there,
// too, and so learns of it before it serves a call.
func (a *Authenticator) Interceptor(open ...string) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		isOpen := slices.Contains(open, info.FullMethod)
		if isOpen && !claimsPeer(ctx) {
			return handler(ctx, req)
		}
		err := a.AdmitPeer(ctx, info.FullMethod)
		if err == nil && !isOpen {
			ctx, err = a.Admit(ctx, info.FullMethod)
		}
		if err != nil {
			return nil, err
		}
		return handler(ctx, req)
	}
}

// StreamInterceptor applies AdmitPeer to every stream of a server, and Admit to all but those of the methods without a
// policy, by their full names. What Admit puts into the context does not reach the handler: streams are for services,
// which have no account.
func (a *Authenticator) StreamInterceptor(withoutPolicy ...string) grpc.StreamServerInterceptor {
	return func(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		err := a.AdmitPeer(stream.Context(), info.FullMethod)
		if err == nil && !slices.Contains(withoutPolicy, info.FullMethod) {
			_, err = a.Admit(stream.Context(), info.FullMethod)
		}
		if err != nil {
			return err
		}
		return handler(server, stream)
	}
}

// bearer reads the token of RFC 6750, section 2.1. The scheme's case does not matter (RFC 9110, section 11.1). Two
// headers are rejected: two readers could each use another one.
func bearer(ctx context.Context) (string, error) {
	values := metadata.ValueFromIncomingContext(ctx, AuthorizationKey)
	if len(values) == 0 {
		return "", apierr.AccessTokenMissing()
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", apierr.AccessTokenMissing()
	}
	if len(values) > 1 || token == "" {
		return "", apierr.AccessTokenInvalid(nil)
	}
	return token, nil
}

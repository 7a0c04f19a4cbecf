package authn

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// Peer is the role of the Gatehouse service that sent a call.
type Peer string

// The services that call others.
const (
	PeerGateway Peer = "gateway"
	PeerCache   Peer = "cache"
)

// mayCall reports whether a service with this role may call methods with this policy. This is the only such table.
// Gateway and cache pass on the calls of clients; only a cache follows the changes of a store.
func (p Peer) mayCall(policy gatehousev1.Policy) bool {
	switch policy {
	case gatehousev1.Policy_POLICY_PUBLIC, gatehousev1.Policy_POLICY_AUTHENTICATED, gatehousev1.Policy_POLICY_ADMIN:
		return p == PeerGateway || p == PeerCache
	case gatehousev1.Policy_POLICY_SERVICE:
		return p == PeerCache
	default:
		return false
	}
}

// The metadata keys by which a service proves to another one that it is a service. They are not those of a client's
// token: a call that is passed on carries both.
const (
	serviceCredentialKey = "x-gatehouse-service-credential" //nolint:gosec // the name, not the secret
	serviceRoleKey       = "x-gatehouse-service"
)

// ServiceCredential is what a service sends with each call to another one. The token is the same for all services of
// an installation: it proves that the sender is one of them. The role is what the sender declares.
type ServiceCredential struct {
	Role  Peer
	Token string // valid by ValidateServiceToken; empty for a client that is not a service
}

// String returns a text without the token.
func (c ServiceCredential) String() string { return string(c.Role) + " (secret)" }

// LogValue returns a value without the token.
func (c ServiceCredential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Metadata returns the credential as pairs of gRPC metadata. There are none without a token.
func (c ServiceCredential) Metadata() []string {
	if c.Token == "" {
		return nil
	}
	return []string{serviceCredentialKey, c.Token, serviceRoleKey, string(c.Role)}
}

// ErrServiceCredentialRefused is the error of a call whose service credential the other service refused. To the client
// that service is unavailable: UNAUTHENTICATED would make it discard an active session. The error has no reason of
// ours, so that a caller that can use another service does.
var ErrServiceCredentialRefused = status.Error(codes.Unavailable,
	"service credential rejected: configure the same service token for all services")

type peerKey struct{}

// WithPeer returns a context that carries the role of the service that sent the call.
func WithPeer(ctx context.Context, peer Peer) context.Context {
	return context.WithValue(ctx, peerKey{}, peer)
}

// PeerFrom returns the role of the service that sent the call. It is empty unless the sender proved that it is a
// service.
func PeerFrom(ctx context.Context) Peer {
	peer, _ := ctx.Value(peerKey{}).(Peer)
	return peer
}

// AdmitServices makes the authenticator admit calls of services that present one of the tokens. Empty ones are
// ignored: without a token no service is admitted.
func (a *Authenticator) AdmitServices(tokens ...string) {
	for _, token := range tokens {
		if token != "" {
			a.services = append(a.services, sha256.Sum256([]byte(token)))
		}
	}
}

// IdentifyPeer returns a context that carries the role of the service that sent the call, if the incoming metadata
// holds a valid credential, and reports whether it does. Otherwise nothing else in the metadata may be trusted.
func (a *Authenticator) IdentifyPeer(ctx context.Context) (context.Context, bool) {
	tokens := metadata.ValueFromIncomingContext(ctx, serviceCredentialKey)
	roles := metadata.ValueFromIncomingContext(ctx, serviceRoleKey)
	if len(tokens) != 1 || len(roles) != 1 || !a.isServiceToken(tokens[0]) {
		return ctx, false
	}
	switch role := Peer(roles[0]); role {
	case PeerGateway, PeerCache:
		return WithPeer(ctx, role), true
	default:
		return ctx, false
	}
}

// isServiceToken compares digests with each token, so that the time it takes reveals nothing about them.
func (a *Authenticator) isServiceToken(token string) bool {
	digest := sha256.Sum256([]byte(token))
	found := 0
	for i := range a.services {
		found |= subtle.ConstantTimeCompare(digest[:], a.services[i][:])
	}
	return found == 1
}

// AdmitPeer returns an error unless the context carries the role of a service that may call the method.
func (a *Authenticator) AdmitPeer(ctx context.Context, method string) error {
	requirement, known := a.policies[method]
	peer := PeerFrom(ctx)
	if peer == "" || known && !peer.mayCall(requirement.Policy) {
		return apierr.ServiceCredentialInvalid()
	}
	return nil
}

// claimsPeer reports whether the sender presents a service credential, valid or not.
func claimsPeer(ctx context.Context) bool {
	return len(metadata.ValueFromIncomingContext(ctx, serviceCredentialKey)) > 0
}

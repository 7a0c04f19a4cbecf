package authn

import "context"

// Peer is the role of the Gatehouse service that sent a call.
type Peer string

// The services that call others.
const (
	PeerGateway Peer = "gateway"
	PeerCache   Peer = "cache"
)

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

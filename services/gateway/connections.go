package gateway

import (
	"net/netip"

	"github.com/gatehouse-auth/gatehouse/internal/netlimit"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

const (
	// maxConnections bounds the connections to each of the two ports. The limit is lower if the process may not open as
	// many files.
	maxConnections = 16 << 10

	// connectionShare bounds those of one client to one port. A browser has six over HTTP/1.1, and a gRPC client one, so
	// that this is enough for some hundred clients behind one address at a time.
	connectionShare = 512
)

// connectionLimits returns the limits of each port. Trusted proxies connect for many clients.
func connectionLimits(proxies edge.TrustedProxies) netlimit.Limits {
	limits := netlimit.Limits{
		Total: maxConnections, PerClient: connectionShare,
		Exempt: func(address netip.Addr) bool { return proxies.Trust(address) },
	}
	return limits.FitFiles(2)
}

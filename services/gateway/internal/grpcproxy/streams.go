package grpcproxy

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/credentials"

	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

// For grpc-go a call ends when its handler returns. Its answer may not be sent yet: data waits in the transport for the
// client to open a flow-control window (RFC 9113, section 5.2), the trailers wait behind the data, and nothing bounds
// how long but the age of the connection. grpc-go has no deadline for writing, and reports to nobody that the trailers
// are written. So the gateway reads the frame headers of its native gRPC connections as they pass: a stream is open
// from the HEADERS frame of the client until END_STREAM or RST_STREAM has gone out, or RST_STREAM has come in. It is
// the counterpart of http.Server.WriteTimeout on the port for REST.

const (
	// streamTimeout is how long a stream may be open: as long as a request over REST, answer included.
	streamTimeout = deadlines.Request

	// maxTracked bounds the streams that are known of a connection. A client can send more than edge.MaxStreams before
	// grpc-go refuses them, but no more than fit into a read buffer.
	maxTracked = 2000
)

// StreamLimits bounds the streams of native gRPC connections.
type StreamLimits struct {
	Open    *shares.Pool // over all connections of a client
	Timeout time.Duration

	exempt func(netip.Addr) bool // reports whether an address is that of a proxy, whose streams are not shared out
	log    *slog.Logger
}

func newStreamLimits(proxies edge.TrustedProxies, log *slog.Logger) *StreamLimits {
	return &StreamLimits{
		Open: shares.NewFair(edge.MaxCalls, edge.CallsPerClient), Timeout: streamTimeout, exempt: proxies.Trust, log: log,
	}
}

// limitedCredentials are transport credentials whose connections have limited streams. The limits hold for the
// connection that the handshake of the inner credentials returns, on which HTTP/2 is in clear.
type limitedCredentials struct {
	credentials.TransportCredentials

	limits *StreamLimits
}

// ServerHandshake implements credentials.TransportCredentials.
func (c limitedCredentials) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := c.TransportCredentials.ServerHandshake(raw)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // grpc-go compares it.
	}
	streams := newStreams(conn, c.limits)
	return streams, streamsInfo{info, streams}, nil
}

// Clone implements credentials.TransportCredentials.
func (c limitedCredentials) Clone() credentials.TransportCredentials {
	return limitedCredentials{c.TransportCredentials.Clone(), c.limits}
}

// streamsInfo is how a handler finds the streams of its connection: as the AuthInfo of its peer.
type streamsInfo struct {
	credentials.AuthInfo

	streams *streams
}

// streams is a connection that knows which of its streams are open, and closes itself when one is for too long.
type streams struct {
	net.Conn

	limits  *StreamLimits
	client  shares.Key
	counted bool // in limits.Open
	in, out frameScanner

	mutex  sync.Mutex
	open   map[uint32]openStream
	last   uint32 // the highest stream that was opened
	over   int    // open streams that the client's share has no room for
	waits  []*streamWait
	timer  *time.Timer
	closed bool
}

type openStream struct {
	since  time.Time
	shared bool // a unit of limits.Open is acquired for it
	exempt bool // it may be open for as long as its handler runs
}

func newStreams(conn net.Conn, limits *StreamLimits) *streams {
	address := edge.ParseAddress(conn.RemoteAddr().String())
	return &streams{
		Conn: conn, limits: limits, client: shares.KeyOf(address), counted: !limits.exempt(address),
		in: frameScanner{skip: len(http2.ClientPreface)}, open: map[uint32]openStream{},
	}
}

// Read implements net.Conn.
func (s *streams) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if !s.scan(&s.in, p[:n], s.received) {
		s.closeFor("connection closed with too many streams")
	}
	return n, err //nolint:wrapcheck // grpc-go compares it.
}

// Write implements net.Conn.
func (s *streams) Write(p []byte) (int, error) {
	n, err := s.Conn.Write(p)
	s.scan(&s.out, p[:n], func(frame frameHeader) {
		if frame.ends() {
			s.end(frame.stream)
		}
	})
	return n, err //nolint:wrapcheck // grpc-go compares it.
}

// scan reports whether the connection has no more streams than are tracked.
func (s *streams) scan(scanner *frameScanner, p []byte, found func(frameHeader)) bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	scanner.scan(p, found)
	return len(s.open) <= maxTracked
}

func (s *streams) received(frame frameHeader) {
	switch {
	case frame.kind == frameRSTStream:
		s.end(frame.stream)
	case frame.kind == frameHeaders && frame.stream > s.last && !s.closed:
		s.last = frame.stream
		s.start(frame.stream)
	}
}

func (s *streams) start(id uint32) {
	shared := s.counted && s.limits.Open.TryAcquire(s.client, 1)
	if s.counted && !shared {
		s.over++
	}
	s.open[id] = openStream{since: time.Now(), shared: shared}
	s.startTimer()
}

// startTimer needs the mutex.
func (s *streams) startTimer() {
	if s.timer == nil {
		s.timer = time.AfterFunc(s.limits.Timeout, s.expire)
	}
}

func (s *streams) end(id uint32) {
	stream, isOpen := s.open[id]
	if !isOpen {
		return
	}
	delete(s.open, id)
	s.endWaits(id)
	switch {
	case stream.shared:
		s.limits.Open.Release(s.client, 1)
	case s.counted:
		s.over--
	}
}

// overShare reports whether there are open streams that the client's share has no room for. No call may start on the
// connection then. Which stream a call belongs to is not known here, but while that of a call has no room, overShare
// reports true. Such a stream ends when its refusal is sent, which needs no window.
func (s *streams) overShare() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.over > 0
}

// expire closes the connection if a stream has been open for too long. It runs at most once in a timeout while calls
// come and go.
func (s *streams) expire() {
	if s.oldest() < s.limits.Timeout {
		return
	}
	s.closeFor("connection closed with an answer that is not taken")
}

// closeFor closes the connection because of a limit. grpc-go finds out, and ends the calls under way.
func (s *streams) closeFor(limit string) {
	s.limits.log.DebugContext(context.Background(), limit, "client", s.client.String())
	_ = s.Close()
}

// oldest returns for how long the oldest stream has been open that is not exempt, and sets the timer for it.
func (s *streams) oldest() time.Duration {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	now, oldest, limited := time.Now(), time.Duration(0), false
	for _, stream := range s.open {
		if !stream.exempt {
			oldest, limited = max(oldest, now.Sub(stream.since)), true
		}
	}
	if !limited {
		s.timer = nil
		return 0
	}
	s.timer.Reset(max(s.limits.Timeout-oldest, 0))
	return oldest
}

// Close implements net.Conn.
func (s *streams) Close() error {
	s.mutex.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	for id := range s.open {
		s.end(id)
	}
	s.mutex.Unlock()
	return s.Conn.Close() //nolint:wrapcheck // grpc-go compares it.
}

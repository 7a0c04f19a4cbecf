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
// client to open a flow-control window (RFC 9113, section 5.2), the trailers wait behind the data, and only the maximum
// age of the connection bounds this time. grpc-go has no deadline for writing, and does not report when the trailers
// are written. Therefore the gateway reads the frame headers of its native gRPC connections: a stream is open from the
// HEADERS frame of the client until END_STREAM or RST_STREAM is sent, or RST_STREAM is received. This is the
// counterpart of http.Server.WriteTimeout on the port for REST.

const (
	// streamTimeout is how long a stream may be open: as long as a request over REST, including its answer.
	streamTimeout = deadlines.Request

	// maxTracked bounds the tracked streams of a connection. A client can send more than edge.MaxStreams before
	// grpc-go refuses them, but no more than fit into a read buffer.
	maxTracked = 2000
)

// StreamLimits bounds the streams of native gRPC connections.
type StreamLimits struct {
	Open    *shares.Pool // over all connections of a client
	Timeout time.Duration

	exempt func(netip.Addr) bool // whether an address is that of a proxy, whose streams do not count in Open
	log    *slog.Logger
}

func newStreamLimits(proxies edge.TrustedProxies, log *slog.Logger) *StreamLimits {
	return &StreamLimits{
		Open: shares.NewFair(edge.MaxCalls, edge.CallsPerClient), Timeout: streamTimeout, exempt: proxies.Trust, log: log,
	}
}

// limitedCredentials are transport credentials whose connections have limited streams. The limits apply to the
// connection that the handshake of the inner credentials returns, on which HTTP/2 is unencrypted.
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

// streamsInfo is the AuthInfo of a peer, by which a handler finds the streams of its connection.
type streamsInfo struct {
	credentials.AuthInfo

	streams *streams
}

// streams is a connection that tracks its open streams, and closes itself when one is open for too long.
type streams struct {
	net.Conn

	limits  *StreamLimits
	client  shares.Key
	counted bool // in limits.Open
	in, out frameScanner

	mutex  sync.Mutex
	open   map[uint32]openStream
	last   uint32 // the highest stream that was opened
	excess int    // open streams beyond the client's share
	waits  []*streamWait
	timer  *time.Timer
	closed bool
}

type openStream struct {
	since  time.Time
	shared bool // a unit of limits.Open is acquired for it
	exempt bool // it has no timeout
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

// scan calls found for each frame header in p. It reports false if the connection has more than maxTracked streams.
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
		s.excess++
	}
	s.open[id] = openStream{since: time.Now(), shared: shared}
	s.startTimer()
}

// startTimer starts the timer unless it runs. The caller holds the mutex.
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
		s.excess--
	}
}

// overShare reports whether the connection has open streams beyond the client's share. No call may start on the
// connection then. The stream of a call is unknown here, but while it is beyond the share, overShare reports true. Such
// a stream ends when its refusal is sent, which needs no window.
func (s *streams) overShare() bool {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.excess > 0
}

// expire closes the connection if a stream has been open for too long. It runs at most once in a timeout.
func (s *streams) expire() {
	if s.oldest() < s.limits.Timeout {
		return
	}
	s.closeFor("connection closed with an unread answer")
}

// closeFor closes the connection because of a limit. grpc-go then ends its calls.
func (s *streams) closeFor(limit string) {
	s.limits.log.DebugContext(context.Background(), limit, "client", s.client.String())
	_ = s.Close()
}

// oldest returns the age of the oldest stream that is not exempt, and sets the timer for it.
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

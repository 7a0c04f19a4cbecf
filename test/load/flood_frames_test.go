package load

import (
	"bytes"
	"context"
	"encoding/base64"
	wire "encoding/binary"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// tick is how often a flood sends what is due.
const tick = 5 * time.Millisecond

// flood sends log-ins as frames: a client that did more for each than that would itself take the cores that it finds
// out about. The frames are made beforehand, and an answer is only looked at.
type flood struct {
	conn     net.Conn
	framer   *http2.Framer
	headers  []byte
	messages [][]byte
	into     *outcomes
}

// newFlood connects to the gateway.
func newFlood(tb testing.TB, env *testEnv, into *outcomes) *flood {
	tb.Helper()
	conn, err := net.Dial("tcp", env.native)
	if err != nil {
		tb.Fatal(err)
	}
	framer := greet(tb, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if err := framer.WriteWindowUpdate(0, 1<<30); err != nil { // For all answers that there will be.
		tb.Fatal(err)
	}
	f := &flood{
		conn: conn, framer: framer, into: into,
		headers: callHeaders(gatehousev1.SessionService_CreateSession_FullMethodName),
	}
	for _, account := range env.accounts {
		message, err := proto.Marshal(account.logIn)
		if err != nil {
			tb.Fatal(err)
		}
		prefix := wire.BigEndian.AppendUint32([]byte{0}, uint32(len(message)))
		f.messages = append(f.messages, append(prefix, message...))
	}
	return f
}

// run sends so many log-ins a second until ctx is done, whatever becomes of those before, and then breaks off.
func (f *flood) run(ctx context.Context, perSecond float64) {
	var reading sync.WaitGroup
	reading.Go(f.read)
	defer reading.Wait()
	defer func() { _ = f.conn.Close() }()
	var batch bytes.Buffer
	writer := http2.NewFramer(&batch, nil)
	ticks := time.NewTicker(tick)
	defer ticks.Stop()
	began, sent := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		for ; float64(sent) < time.Since(began).Seconds()*perSecond; sent++ {
			id := uint32(2*sent + 1)
			_ = writer.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: f.headers, EndHeaders: true})
			_ = writer.WriteData(id, true, f.messages[sent%len(f.messages)])
		}
		if _, err := f.conn.Write(batch.Bytes()); err != nil {
			f.into.failed.Store(status.New(codes.Unavailable, err.Error()))
			return
		}
		batch.Reset()
	}
}

// read counts the answers until the connection is closed.
func (f *flood) read() {
	for {
		frame, err := f.framer.ReadFrame()
		if err != nil {
			return
		}
		if headers, ok := frame.(*http2.MetaHeadersFrame); ok && headers.StreamEnded() {
			f.into.count(statusOf(headers.Fields))
		}
	}
}

// statusOf reads the trailers of a call.
func statusOf(trailers []hpack.HeaderField) *status.Status {
	rejected := &spb.Status{Code: int32(codes.Unknown)}
	for _, field := range trailers {
		switch field.Name {
		case "grpc-status":
			if field.Value == "0" {
				return nil
			}
		case "grpc-status-details-bin":
			details, err := base64.RawStdEncoding.DecodeString(field.Value)
			if err == nil {
				_ = proto.Unmarshal(details, rejected)
			}
		}
	}
	return status.FromProto(rejected)
}

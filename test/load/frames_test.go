package load

import (
	"bytes"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func write(tb testing.TB, conn net.Conn, text string) {
	tb.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		tb.Fatal(err)
	}
}

// read reads until the text has come.
func read(tb testing.TB, conn net.Conn, text string) {
	tb.Helper()
	var got strings.Builder
	part := make([]byte, 4<<10)
	for !strings.Contains(got.String(), text) {
		n, err := conn.Read(part)
		if err != nil {
			tb.Fatalf("%v after %q", err, got.String())
		}
		got.Write(part[:n])
	}
}

// callHeaders are those of a native gRPC call. They hold without the headers of calls before.
func callHeaders(method string) []byte {
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for _, field := range [][2]string{
		{":method", "POST"},
		{":scheme", "http"},
		{":path", method},
		{":authority", "gateway"},
		{"content-type", "application/grpc"},
		{"te", "trailers"},
		{"grpc-timeout", "10S"},
	} {
		_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
	}
	return block.Bytes()
}

// windows are how much may be sent on a connection and on its streams (RFC 9113, section 5.2).
type windows struct {
	mutex   sync.Mutex
	changed sync.Cond
	left    map[uint32]int // 0 is the connection
	ended   map[uint32]bool
	broken  bool
}

func newWindows(calls int) *windows {
	w := &windows{left: map[uint32]int{0: 65535}, ended: map[uint32]bool{}}
	w.changed.L = &w.mutex
	for call := range calls {
		w.left[uint32(2*call+1)] = 65535
	}
	return w
}

// spend waits until so much may be sent on a stream. It may not if the stream has ended, or the connection.
func (w *windows) spend(stream uint32, bytes int) bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for !w.broken && !w.ended[stream] && (w.left[0] < bytes || w.left[stream] < bytes) {
		w.changed.Wait()
	}
	if w.broken || w.ended[stream] {
		return false
	}
	w.left[0] -= bytes
	w.left[stream] -= bytes
	return true
}

// watch reads what the gateway says until the connection ends.
func (w *windows) watch(framer *http2.Framer) {
	for {
		frame, err := framer.ReadFrame()
		w.mutex.Lock()
		switch frame := frame.(type) {
		case *http2.WindowUpdateFrame:
			w.left[frame.StreamID] += int(frame.Increment)
		case *http2.RSTStreamFrame:
			w.ended[frame.StreamID] = true
		case *http2.HeadersFrame:
			w.ended[frame.StreamID] = frame.StreamEnded()
		}
		w.broken = err != nil
		w.changed.Broadcast()
		w.mutex.Unlock()
		if err != nil {
			return
		}
	}
}

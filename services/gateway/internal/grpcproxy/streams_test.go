package grpcproxy

import (
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// TestFrameScanner checks that the headers of frames are found however the bytes of the connection are cut.
func TestFrameScanner(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var sent strings.Builder
	sent.WriteString(http2.ClientPreface)
	framer := http2.NewFramer(&sent, nil)
	var want []frameHeader
	for i := range uint32(200) {
		end := random.IntN(2) == 0
		switch random.IntN(3) {
		case 0:
			_ = framer.WriteData(i+1, end, make([]byte, random.IntN(300)))
			want = append(want, frameHeader{frameData, flag(end), i + 1})
		case 1:
			_ = framer.WriteHeaders(http2.HeadersFrameParam{
				StreamID: i + 1, EndStream: end, BlockFragment: make([]byte, random.IntN(70_000)),
			})
			want = append(want, frameHeader{frameHeaders, flag(end), i + 1})
		default:
			_ = framer.WriteRSTStream(i+1, http2.ErrCodeCancel)
			want = append(want, frameHeader{frameRSTStream, 0, i + 1})
		}
	}
	for _, most := range []int{1, 2, 9, 10, 1000, 1 << 20} {
		scanner := frameScanner{skip: len(http2.ClientPreface)}
		var got []frameHeader
		for rest := []byte(sent.String()); len(rest) > 0; {
			n := min(1+random.IntN(most), len(rest))
			scanner.scan(rest[:n], func(header frameHeader) { got = append(got, header) })
			rest = rest[n:]
		}
		if len(got) != len(want) {
			t.Fatalf("in parts of up to %d bytes: %d frames, want %d", most, len(got), len(want))
		}
		for i := range want {
			if got[i] != want[i] {
				t.Fatalf("in parts of up to %d bytes, frame %d: %v, want %v", most, i, got[i], want[i])
			}
		}
	}
}

func flag(endStream bool) byte {
	if endStream {
		return flagEndStream
	}
	return 0
}

// TestStreams checks that a connection whose client starts more streams than are tracked is closed, and their shares
// are released.
func TestStreams(t *testing.T) {
	client, server := net.Pipe()
	limits := newStreamLimits(nil, slog.New(slog.DiscardHandler))
	tracked := newStreams(server, limits)
	go func() {
		_, _ = io.WriteString(client, http2.ClientPreface)
		framer := http2.NewFramer(client, client)
		for i := range uint32(maxTracked + 1) {
			_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, EndHeaders: true})
		}
	}()
	var err error
	for buffer := make([]byte, 64); err == nil; {
		_, err = tracked.Read(buffer)
	}
	if !errors.Is(err, io.ErrClosedPipe) || tracked.last != 2*maxTracked+1 {
		t.Errorf("after stream %d the connection ends with %v", tracked.last, err)
	}
	if held, _ := limits.Open.Usage(); held != 0 {
		t.Errorf("%d streams are held", held)
	}
	_ = client.Close()
}

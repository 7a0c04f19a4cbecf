package grpcproxy

import "encoding/binary"

// HTTP/2 frame types and flags (RFC 9113, section 6).
const (
	frameData      = 0x0
	frameHeaders   = 0x1
	frameRSTStream = 0x3

	flagEndStream = 0x1

	frameHeaderSize = 9
)

// frameHeader is a part of the header of an HTTP/2 frame.
type frameHeader struct {
	kind, flags byte
	stream      uint32
}

// ends reports whether the frame is the last one of its sender on the stream.
func (h frameHeader) ends() bool {
	return h.kind == frameRSTStream || (h.kind == frameData || h.kind == frameHeaders) && h.flags&flagEndStream != 0
}

// frameScanner finds the frame headers in one direction of an HTTP/2 connection, in parts of any size.
type frameScanner struct {
	skip     int // bytes until the next frame header
	header   [frameHeaderSize]byte
	buffered int // bytes of header
}

// scan calls found for each frame header that p completes.
func (s *frameScanner) scan(p []byte, found func(frameHeader)) {
	for len(p) > 0 {
		if s.skip > 0 {
			skipped := min(s.skip, len(p))
			p, s.skip = p[skipped:], s.skip-skipped
			continue
		}
		copied := copy(s.header[s.buffered:], p)
		p, s.buffered = p[copied:], s.buffered+copied
		if s.buffered < frameHeaderSize {
			return
		}
		s.buffered = 0
		s.skip = int(s.header[0])<<16 | int(s.header[1])<<8 | int(s.header[2])
		found(frameHeader{
			kind: s.header[3], flags: s.header[4], stream: binary.BigEndian.Uint32(s.header[5:]) &^ (1 << 31),
		})
	}
}

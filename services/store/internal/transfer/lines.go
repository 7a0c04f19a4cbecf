package transfer

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxLine bounds a line of an import, in bytes. The reader skips a longer one without holding it: a user takes 70 KiB
// at most, two metadata of 16 KiB among them, with every letter escaped.
const maxLine = 1 << 20

// lineReader reads lines of any length, of which it holds no more than maxLine.
type lineReader struct {
	reader *bufio.Reader
	bytes  int64 // that were read since the beginning of the file
	lines  int64 // as bytes
}

// newLineReader reads on from a position after so many bytes and lines.
func newLineReader(file io.Reader, bytes, lines int64) *lineReader {
	return &lineReader{reader: bufio.NewReaderSize(file, 64<<10), bytes: bytes, lines: lines}
}

// next returns the next line without its end, or that it is longer than maxLine. It returns io.EOF after the last line.
// The line is the caller's.
func (r *lineReader) next() (line []byte, tooLong bool, err error) {
	began := r.bytes
	for {
		part, err := r.reader.ReadSlice('\n')
		r.bytes += int64(len(part))
		if tooLong = tooLong || len(line)+len(part) > maxLine; tooLong {
			line = nil
		} else {
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && (!errors.Is(err, io.EOF) || r.bytes == began) {
			return nil, false, err
		}
		r.lines++
		if began == 0 {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf")) // Some programs begin a file with a byte order mark.
		}
		return bytes.TrimSpace(line), tooLong, nil
	}
}

package logging

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxRecords and maxBytes bound the queue. A burst of a busy second fits; a reader that stalls costs 4 MiB.
	maxRecords = 16 << 10
	maxBytes   = 4 << 20

	// CloseTimeout bounds how long Close waits for the writer.
	CloseTimeout = 2 * time.Second
)

// Writer writes records to another writer from a goroutine of its own, so that no caller ever waits for the reader of a
// log: a pipe that is full, a disk that hangs or a terminal that is stopped. A record that finds the queue full, or
// cannot be written, is dropped and counted; once a record can be written again, the log reports how many were dropped
// before.
//
// Each Write is one record, and reaches the other writer in one call. A Writer is safe for concurrent use.
type Writer struct {
	out     io.Writer
	wake    chan struct{} // holds a value if there is work
	done    chan struct{} // closed when the goroutine has ended
	dropped atomic.Uint64 // records, in all

	mu      sync.Mutex
	queue   [][]byte
	records int // queued or being written
	bytes   int // of these records
	missed  int // records dropped since the last report
	closed  bool
	reports slog.Handler // writes to out; nil if drops are not reported
}

// NewWriter returns a Writer to out, which it alone must use. Close releases it.
func NewWriter(out io.Writer) *Writer {
	w := &Writer{out: out, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go w.run()
	return w
}

// Write queues a record, or drops it if the queue is full. It never blocks and never fails.
func (w *Writer) Write(record []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || w.records >= maxRecords || w.bytes+len(record) > maxBytes {
		w.drop()
		return len(record), nil
	}
	w.queue = append(w.queue, append([]byte(nil), record...))
	w.records++
	w.bytes += len(record)
	w.signal()
	return len(record), nil
}

// Dropped returns how many records were dropped since the Writer was created.
func (w *Writer) Dropped() uint64 { return w.dropped.Load() }

// Close waits until all records are written, at most CloseTimeout. Later records are dropped.
func (w *Writer) Close() {
	w.mu.Lock()
	w.closed = true
	w.signal()
	w.mu.Unlock()
	timeout := time.NewTimer(CloseTimeout)
	defer timeout.Stop()
	select {
	case <-w.done:
	case <-timeout.C:
	}
}

// reportDrops sets the handler that reports what was dropped.
func (w *Writer) reportDrops(handler slog.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reports = handler
}

// drop counts a record that is lost. The caller holds mu.
func (w *Writer) drop() {
	w.missed++
	w.dropped.Add(1)
}

// signal wakes the goroutine. The caller holds mu.
func (w *Writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default: // A value is there already.
	}
}

// run writes what is queued until the Writer is closed.
func (w *Writer) run() {
	defer close(w.done)
	torn := false
	for range w.wake {
		batch, closed := w.nextBatch()
		for _, record := range batch {
			torn = w.write(record, torn)
		}
		if !torn {
			w.report()
		}
		if closed {
			return
		}
	}
}

func (w *Writer) nextBatch() (batch [][]byte, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	batch, w.queue = w.queue, nil
	return batch, w.closed
}

// write writes one record, after a line break if the one before was torn, and reports whether this one is.
func (w *Writer) write(record []byte, torn bool) bool {
	line := record
	if torn {
		line = append([]byte{'\n'}, record...)
	}
	n, err := w.out.Write(line)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.records--
	w.bytes -= len(record)
	if err == nil {
		return false
	}
	w.drop()
	return n > 0 || torn
}

// report writes how many records were dropped since the last report. If that fails, the next report includes them.
func (w *Writer) report() {
	w.mu.Lock()
	missed, handler := w.missed, w.reports
	w.missed = 0
	w.mu.Unlock()
	if missed == 0 || handler == nil {
		return
	}
	record := slog.NewRecord(time.Now(), slog.LevelWarn, "log records dropped", 0)
	record.AddAttrs(slog.Int("records", missed))
	if err := handler.Handle(context.Background(), record); err != nil {
		w.mu.Lock()
		w.missed += missed
		w.mu.Unlock()
	}
}

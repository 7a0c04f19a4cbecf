package logging

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// output is an output that can stall and fail.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
	errs error         // what Write fails with
	torn int           // bytes that a failing Write writes all the same
	gate chan struct{} // Write waits for it, unless nil
}

func (o *output) Write(p []byte) (int, error) {
	if o.gate != nil {
		<-o.gate
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.errs != nil {
		n, _ := o.text.Write(p[:min(o.torn, len(p))])
		return n, o.errs
	}
	return o.text.Write(p)
}

func (o *output) fail(err error, torn int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.errs, o.torn = err, torn
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

func TestWriter(t *testing.T) {
	t.Run("writes_every_record_in_order", func(t *testing.T) {
		out := &output{}
		w := NewWriter(out)
		var want strings.Builder
		for i := range 1000 {
			fmt.Fprintf(w, "%d\n", i)
			fmt.Fprintf(&want, "%d\n", i)
		}
		w.Close()
		if out.String() != want.String() || w.Dropped() != 0 {
			t.Errorf("%d bytes are written of %d, %d records dropped", len(out.String()), want.Len(), w.Dropped())
		}
	})
	for name, size := range map[string]int{"records": 1, "bytes": 64 << 10} {
		t.Run("drops_beyond_its_"+name+"_while_the_output_stalls_and_reports_it", func(t *testing.T) {
			out := &output{gate: make(chan struct{})}
			w := NewWriter(out)
			log := New(w, slog.LevelError, JSON)
			record := bytes.Repeat([]byte{'x'}, size)
			fits := min(maxRecords, maxBytes/size)
			for range fits + 7 {
				_, _ = w.Write(record)
			}
			if w.Dropped() != 7 {
				t.Errorf("%d records are dropped, not 7", w.Dropped())
			}
			close(out.gate)
			w.Close()
			log.Error("dropped too")
			text := out.String()
			if strings.Count(text, "x") != fits*size || !strings.Contains(text, `"msg":"log records dropped","records":7}`) {
				t.Errorf("the output ends with %q", text[max(0, len(text)-200):])
			}
		})
	}
	t.Run("drops_what_cannot_be_written_and_reports_it_when_it_can", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			out := &output{}
			w := NewWriter(out)
			log := New(w, slog.LevelInfo, Text)
			out.fail(errors.New("broken pipe"), 0)
			for range 3 {
				log.Info("lost")
				synctest.Wait()
			}
			out.fail(errors.New("disk full"), 4)
			log.Info("torn")
			synctest.Wait()
			out.fail(nil, 0)
			log.Info("read")
			w.Close()
			lines := strings.Split(out.String(), "\n")
			if len(lines) != 4 || !strings.HasSuffix(lines[1], "msg=read") || !strings.HasSuffix(lines[2], `msg="log records dropped" records=4`) {
				t.Errorf("the output is %q", lines)
			}
		})
	})
	t.Run("Close_waits_no_longer_than_CloseTimeout", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			out := &output{gate: make(chan struct{})}
			w := NewWriter(out)
			_, _ = w.Write([]byte("stalled\n"))
			start := time.Now()
			w.Close()
			if took := time.Since(start); took != CloseTimeout {
				t.Errorf("Close took %v", took)
			}
			close(out.gate)
		})
	})
}

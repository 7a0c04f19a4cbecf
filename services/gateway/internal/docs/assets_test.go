package docs

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
)

const bundle = "/docs/swagger-ui-bundle.js"

// byteCounter is a ResponseWriter that counts what is written.
type byteCounter struct {
	header http.Header
	bytes  int
}

func (d *byteCounter) Header() http.Header            { return d.header }
func (d *byteCounter) Write(part []byte) (int, error) { d.bytes += len(part); return len(part), nil }
func (*byteCounter) WriteHeader(int)                  {}
func (d *byteCounter) get(docs http.Handler, path string) int {
	*d = byteCounter{header: http.Header{}}
	docs.ServeHTTP(d, httptest.NewRequest(http.MethodGet, path, http.NoBody))
	return d.bytes
}

func TestAssets(t *testing.T) {
	t.Run("are_decompressed_once_for_all_clients", func(t *testing.T) {
		const requests = 20
		docs := New()
		client := &byteCounter{}
		size := client.get(docs, bundle)
		if size < 1<<20 {
			t.Fatalf("the bundle has %d bytes: too few to be seen below", size)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range requests {
			if got := client.get(docs, bundle); got != size {
				t.Fatalf("%d of %d bytes are written", got, size)
			}
		}
		runtime.ReadMemStats(&after)
		// Copying takes 32 KiB, decompressing another 40 KiB, and the bundle has 1.5 MiB.
		if each := (after.TotalAlloc - before.TotalAlloc) / requests; each > 48<<10 {
			t.Errorf("each request allocates %d bytes", each)
		}
	})
}

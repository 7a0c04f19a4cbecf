package gateway

import (
	"bytes"
	"compress/gzip"
	"io"
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

func TestDocsAssets(t *testing.T) {
	t.Run("are decompressed once for all clients", func(t *testing.T) {
		const requests = 20
		docs := newDocs()
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
	h, _ := newServedHouse(t)
	plain := h.get(t, bundle)
	plain.wantOK(t)
	for accepted, want := range map[string]string{
		"": "", "identity": "", "gzip": "gzip", "br, GZIP;q=0.5": "gzip", "gzip;q=0": "", "gzip; q=0.000": "", "xgzip": "",
	} {
		t.Run("for a client that accepts "+accepted, func(t *testing.T) {
			got := h.get(t, bundle, "Accept-Encoding: "+accepted)
			got.wantOK(t)
			got.wantHeader(t, "Vary", "Accept-Encoding")
			if encoding := got.Header.Get("Content-Encoding"); encoding != want {
				t.Errorf("the encoding is %q, want %q", encoding, want)
			}
			text := got.text
			if want == "gzip" {
				reader, err := gzip.NewReader(bytes.NewReader([]byte(text)))
				if err != nil {
					t.Fatal(err)
				}
				decompressed, err := io.ReadAll(reader)
				if err != nil {
					t.Fatal(err)
				}
				text = string(decompressed)
			}
			if text != plain.text {
				t.Errorf("the file has %d bytes, want %d", len(text), len(plain.text))
			}
			again := h.get(t, bundle, "Accept-Encoding: "+accepted, "If-None-Match: "+got.Header.Get("Etag"))
			if again.StatusCode != http.StatusNotModified {
				t.Errorf("the answer for the tag is %d", again.StatusCode)
			}
		})
	}
	h.wantBystanderServed(t)
}

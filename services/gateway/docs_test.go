package gateway

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"testing"
)

const bundle = "/docs/swagger-ui-bundle.js"

func TestDocsAssets(t *testing.T) {
	env, _ := newServedEnv(t)
	plain := env.get(t, bundle)
	plain.wantOK(t)
	for accepted, want := range map[string]string{
		"": "", "identity": "", "gzip": "gzip", "br, GZIP;q=0.5": "gzip", "gzip;q=0": "", "gzip; q=0.000": "", "xgzip": "",
	} {
		t.Run("for_a_client_that_accepts_"+accepted, func(t *testing.T) {
			got := env.get(t, bundle, "Accept-Encoding: "+accepted)
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
			again := env.get(t, bundle, "Accept-Encoding: "+accepted, "If-None-Match: "+got.Header.Get("Etag"))
			if again.StatusCode != http.StatusNotModified {
				t.Errorf("the answer for the tag is %d", again.StatusCode)
			}
		})
	}
	env.wantBystanderServed(t)
}

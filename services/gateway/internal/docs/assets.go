package docs

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"
	"sync"
	"time"

	swaggerui "github.com/swaggest/swgui/v5/static"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/reply"
)

// compressedSuffix ends the names of files that are compressed in the binary.
const compressedSuffix = ".gz"

// assets are the files of Swagger UI by their names.
type assets map[string]*asset

// asset is a file of Swagger UI.
type asset struct {
	tag        string
	compressed []byte // nil if the binary has it uncompressed
	// plain returns the decompressed file. It is decompressed once for all clients that do not accept gzip: otherwise
	// each request of fifty bytes would decompress a megabyte and a half.
	plain func() []byte
}

// loadAssets returns the files in the binary. It panics if it cannot read one, which every start of the gateway would
// show.
func loadAssets() assets {
	names, err := fs.Glob(swaggerui.FS, "*")
	if err != nil {
		panic(err)
	}
	loaded := assets{}
	for _, name := range names {
		content, err := fs.ReadFile(swaggerui.FS, name)
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(content)
		file := &asset{tag: hex.EncodeToString(sum[:8]), plain: func() []byte { return content }}
		if plainName, isCompressed := strings.CutSuffix(name, compressedSuffix); isCompressed {
			name, file.compressed = plainName, content
			file.plain = sync.OnceValue(func() []byte { return mustDecompress(name, content) })
		}
		loaded[name] = file
	}
	return loaded
}

func mustDecompress(name string, content []byte) []byte {
	reader, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		panic(fmt.Sprintf("decompress %s of Swagger UI: %v", name, err))
	}
	plain, err := io.ReadAll(reader)
	if err != nil {
		panic(fmt.Sprintf("decompress %s of Swagger UI: %v", name, err))
	}
	return plain
}

// serve writes a file.
func (a assets) serve(w http.ResponseWriter, r *http.Request, name string) {
	file, known := a[name]
	if !known {
		reply.Error(w, r, apierr.RouteNotFound("file not found"))
		return
	}
	r.Header.Del("Range") // net/http would answer an unsatisfiable one in plain text.
	header := w.Header()
	header.Set("Cache-Control", "public, max-age=3600")
	header.Set("Vary", "Accept-Encoding")
	if file.compressed != nil && acceptsGzip(r.Header) {
		header.Set("Content-Encoding", "gzip")
		header.Set("Etag", `"`+file.tag+`-gzip"`)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(file.compressed))
		return
	}
	header.Set("Etag", `"`+file.tag+`"`)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(file.plain()))
}

// acceptsGzip reports whether a client accepts gzip (RFC 9110, section 12.5.3).
func acceptsGzip(header http.Header) bool {
	for part := range strings.SplitSeq(strings.Join(header.Values("Accept-Encoding"), ","), ",") {
		name, weight, _ := strings.Cut(part, ";")
		refused := strings.TrimRight(strings.TrimSpace(weight), "0.") == "q="
		if strings.EqualFold(strings.TrimSpace(name), "gzip") && !refused {
			return true
		}
	}
	return false
}

package gateway

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
)

// compressedSuffix ends the names of files that are part of the binary compressed.
const compressedSuffix = ".gz"

// docsAssets are the files of Swagger UI by their names.
type docsAssets map[string]*docsAsset

// docsAsset is a file of Swagger UI.
type docsAsset struct {
	tag        string
	compressed []byte // nil if the binary has it as it is
	// plain returns the file as it is. It is decompressed once, for all clients that do not accept gzip: otherwise
	// each request of fifty bytes would cost what decompressing a megabyte and a half does.
	plain func() []byte
}

// loadDocsAssets reads the files that are part of the binary. It panics if one cannot be read, which every start of the
// gateway would show.
func loadDocsAssets() docsAssets {
	names, err := fs.Glob(swaggerui.FS, "*")
	if err != nil {
		panic(err)
	}
	assets := docsAssets{}
	for _, name := range names {
		content, err := fs.ReadFile(swaggerui.FS, name)
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(content)
		asset := &docsAsset{tag: hex.EncodeToString(sum[:8]), plain: func() []byte { return content }}
		if plainName, isCompressed := strings.CutSuffix(name, compressedSuffix); isCompressed {
			name, asset.compressed = plainName, content
			asset.plain = sync.OnceValue(func() []byte { return mustDecompress(name, content) })
		}
		assets[name] = asset
	}
	return assets
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

// serve answers with a file.
func (a docsAssets) serve(w http.ResponseWriter, r *http.Request, name string) {
	asset, known := a[name]
	if !known {
		writeError(w, apierr.RouteNotFound("file not found"))
		return
	}
	r.Header.Del("Range") // net/http answers one that it cannot satisfy in plain text.
	header := w.Header()
	header.Set("Cache-Control", "public, max-age=3600")
	header.Set("Vary", "Accept-Encoding")
	if asset.compressed != nil && acceptsGzip(r.Header) {
		header.Set("Content-Encoding", "gzip")
		header.Set("Etag", `"`+asset.tag+`-gzip"`)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(asset.compressed))
		return
	}
	header.Set("Etag", `"`+asset.tag+`"`)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(asset.plain()))
}

// acceptsGzip reports whether a client names gzip among what it accepts (RFC 9110, section 12.5.3).
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

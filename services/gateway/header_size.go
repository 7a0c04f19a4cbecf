package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

const (
	// maxHeaderBytes bounds the header fields of a request over both transports, in bytes as RFC 9113, section 6.5.2,
	// counts them. It leaves room for a token of 8 KiB.
	maxHeaderBytes = 16 << 10

	// maxHeaderRead is how much of the header fields of an HTTP/2 request is read, so that one with more than
	// maxHeaderBytes is refused alone. What is larger still, which proxies do not pass on, ends its connection with all
	// requests on it: net/http and grpc-go stop decoding there, and no later header of the connection could be decoded.
	maxHeaderRead = 64 << 10

	// fieldOverhead is what a field counts beside its name and its value.
	fieldOverhead = 32

	// http2FrameSize bounds a frame of HTTP/2, which is held until it is complete: the least that RFC 9113 has.
	http2FrameSize = 16 << 10
)

// configureHTTP2 makes a server read up to maxHeaderRead of header fields over HTTP/2 in clear. Over HTTP/1.1, where a
// connection has one request, it reads no more than its MaxHeaderBytes.
func configureHTTP2(server *http.Server) error {
	const unencrypted = "unencrypted_http2" // As net/http and http2 name it.
	//nolint:staticcheck // http.Server.Protocols, which replaces it, has one limit for both versions of HTTP.
	if err := http2.ConfigureServer(server, nil); err != nil {
		return fmt.Errorf("configure HTTP/2: %w", err)
	}
	serve := server.TLSNextProto[unencrypted]
	if serve == nil {
		return errors.New("configure HTTP/2: there is none in clear")
	}
	server.TLSNextProto[unencrypted] = func(_ *http.Server, conn *tls.Conn, handler http.Handler) {
		serve(&http.Server{
			ReadTimeout: server.ReadTimeout, WriteTimeout: server.WriteTimeout, IdleTimeout: server.IdleTimeout,
			MaxHeaderBytes: maxHeaderRead, HTTP2: server.HTTP2, ErrorLog: server.ErrorLog,
		}, conn, handler)
	}
	return nil
}

// limitHeaders refuses requests with larger header fields than maxHeaderBytes. They count as calls under way, as the
// client may not take the refusal.
func limitHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size := len(r.Method) + len(r.RequestURI) + len(r.Host) + fieldsSize(r.Header)
		if size > maxHeaderBytes {
			w.Header().Set("X-Content-Type-Options", "nosniff")
			writeErrorAs(w, errHeadersTooLarge(size), http.StatusRequestHeaderFieldsTooLarge)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// checkMetadataSize returns an error for a native gRPC call with larger header fields than maxHeaderBytes.
func checkMetadataSize(ctx context.Context) error {
	fields, _ := metadata.FromIncomingContext(ctx)
	if size := fieldsSize(fields); size > maxHeaderBytes {
		return errHeadersTooLarge(size)
	}
	return nil
}

func errHeadersTooLarge(size int) error {
	return apierr.RequestTooLarge(fmt.Errorf("the header fields have %d bytes", size))
}

func fieldsSize(fields map[string][]string) int {
	size := 0
	for name, values := range fields {
		for _, value := range values {
			size += len(name) + len(value) + fieldOverhead
		}
	}
	return size
}

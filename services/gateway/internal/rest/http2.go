package rest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"

	"golang.org/x/net/http2"

	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

// http2FrameSize bounds a frame of HTTP/2, which is buffered until it is complete: the minimum of RFC 9113.
const http2FrameSize = 16 << 10

// configureHTTP2 makes a server read up to edge.MaxHeaderRead of header fields over unencrypted HTTP/2. Over HTTP/1.1,
// where a connection has one request, it reads no more than its MaxHeaderBytes.
func configureHTTP2(server *http.Server) error {
	const unencrypted = "unencrypted_http2" // As net/http and http2 name it.
	//nolint:staticcheck // http.Server.Protocols, which replaces it, has one limit for both versions of HTTP.
	if err := http2.ConfigureServer(server, nil); err != nil {
		return fmt.Errorf("configure HTTP/2: %w", err)
	}
	serve := server.TLSNextProto[unencrypted]
	if serve == nil {
		return errors.New("configure HTTP/2: net/http does not support unencrypted HTTP/2")
	}
	server.TLSNextProto[unencrypted] = func(_ *http.Server, conn *tls.Conn, handler http.Handler) {
		serve(&http.Server{
			ReadTimeout: server.ReadTimeout, WriteTimeout: server.WriteTimeout, IdleTimeout: server.IdleTimeout,
			MaxHeaderBytes: edge.MaxHeaderRead, HTTP2: server.HTTP2, ErrorLog: server.ErrorLog,
		}, conn, handler)
	}
	return nil
}

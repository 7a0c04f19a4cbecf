// Package rest serves the HTTP port: the API in JSON, and the documents and health checks beside it. It transcodes JSON
// by the routes of the contract and makes its calls at the edge.
//
// A request passes observe (request id, client, log), limitCalls, limitHeaders, serve (which page or the API), and for
// the API resolve, which reads all of it into one call before a generated handler runs.
package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"

	"golang.org/x/net/http2"

	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/ops"
)

// Bounds against clients that are slow on purpose. A request has at most 16 KiB, or 256 KiB for UpdateUser
// (edge/limits.go), and an answer at most 1 MiB.
const (
	// IdleTimeout is longer than proxies hold a connection that they do not use. With a shorter one a proxy would send a
	// request at the moment when the gateway closes the connection, and answer 502. Google's load balancer has 600 s,
	// which cannot be changed, and requires more from backends; those of AWS and Azure and nginx have 60 to 240 s. The
	// number of connections bounds the cost of idle ones (connections.go of the gateway).
	IdleTimeout = grpcx.IdleTimeout

	// http2Window is how much of all bodies of a connection is buffered before a handler reads it, in bytes: the minimum
	// of RFC 9113.
	http2Window = 64 << 10
)

// Config holds what a Server needs beside the edge.
type Config struct {
	TrustedProxies edge.TrustedProxies
	Pages          map[string]http.Handler // served beside the API, by their exact paths
}

// Server serves the HTTP port.
type Server struct {
	HTTP *http.Server

	log *slog.Logger
}

// New returns a server. It reports an error if a route of the contract cannot be served.
func New(ctx context.Context, config Config, front *edge.Edge, health *ops.Health, log *slog.Logger) (*Server, error) {
	api, err := newAPI(ctx, front)
	if err != nil {
		return nil, err
	}
	handler := observe(log, config.TrustedProxies,
		limitCalls(front.Calls, limitHeaders(newPages(config.Pages, api, health))))
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: deadlines.ReadHeaders,
		ReadTimeout:       deadlines.ReadRequest,
		WriteTimeout:      deadlines.Request,
		IdleTimeout:       IdleTimeout,
		MaxHeaderBytes:    edge.MaxHeaderBytes,
		// net/http would answer OPTIONS * by itself, without a log line.
		DisableGeneralOptionsHandler: true,
		Protocols:                    protocols(),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          edge.MaxStreams,
			MaxReceiveBufferPerConnection: http2Window,
			MaxReceiveBufferPerStream:     http2Window,
			MaxReadFrameSize:              http2FrameSize,
		},
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	return &Server{HTTP: server, log: log}, configureHTTP2(server)
}

func protocols() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return &p
}

// Run serves until ctx is done, then lets requests under way end.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	s.log.InfoContext(ctx, "serving HTTP", "address", listener.Addr().String())
	failed := make(chan error, 1)
	go func() { failed <- s.HTTP.Serve(listener) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serve HTTP on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadlines.Drain)
	defer cancel()
	err := s.HTTP.Shutdown(ctx)
	_ = s.HTTP.Close() // Closes what has not ended in time; its error has no consequence.
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) { // It failed while it was being stopped.
		err = errors.Join(err, served)
	}
	if err != nil {
		return fmt.Errorf("stop HTTP on %s: %w", listener.Addr(), err)
	}
	return nil
}

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

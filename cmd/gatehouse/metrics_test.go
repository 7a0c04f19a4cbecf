package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/internal/logging"
)

func TestMetrics(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	stderr := logging.NewWriter(io.Discard)
	stderr.Close()
	_, _ = stderr.Write([]byte("lost\n"))
	go func() { ended <- serveMetrics(ctx, newMetrics(stderr), listener) }()
	response, err := http.Get("http://" + listener.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	for _, want := range []string{"\ngo_goroutines ", "\ngatehouse_log_records_dropped_total 1\n"} {
		if err != nil || response.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
			t.Errorf("%s, %v, without %q:\n%s", response.Status, err, want, text)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("it ends with %v", err)
	}
}

// TestMetricsConnections checks that one address cannot take all connections of the port for metrics.
func TestMetricsConnections(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- serveMetrics(ctx, newMetrics(logging.NewWriter(io.Discard)), listener) }()
	open := func() error {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			return err
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: metrics\r\n\r\n"); err != nil {
			return err
		}
		_, err = conn.Read(make([]byte, 1))
		return err
	}
	for range metricsShare {
		if err := open(); err != nil {
			t.Fatal(err)
		}
	}
	if open() == nil {
		t.Error("a connection beyond the share is served")
	}
	bystander := &http.Client{Transport: &http.Transport{
		DialContext:       (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext,
		DisableKeepAlives: true,
	}}
	response, err := bystander.Get("http://" + listener.Addr().String() + "/metrics")
	if err != nil {
		t.Errorf("another address is not served: %v", err)
	} else {
		_ = response.Body.Close()
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

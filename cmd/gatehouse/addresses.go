package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"google.golang.org/grpc"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

// listeners opens listeners, and collects the errors.
type listeners struct {
	err error
}

func (l *listeners) open(ctx context.Context, address, flag string) net.Listener {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		l.err = errors.Join(l.err, fmt.Errorf("%s: %w", flag, err))
		return nil
	}
	return listener
}

// dialStore returns a connection to stores that retries: it is the last hop of each call, and the only one that does.
func dialStore(addresses []string, credential authn.ServiceCredential) (*grpc.ClientConn, error) {
	return grpcx.DialAddresses(addresses, credential, grpcx.WithRetry()...)
}

// checkListen reports an error unless the address is [HOST]:PORT, to listen on.
func checkListen(flag, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%s is %q, not [HOST]:PORT", flag, address)
	}
	return nil
}

// checkTargets reports an error unless the addresses are one or more HOST:PORT, to connect to.
func checkTargets(flag string, addresses []string) error {
	if len(addresses) == 0 {
		return checkTarget(flag, "")
	}
	errs := make([]error, 0, len(addresses))
	for _, address := range addresses {
		errs = append(errs, checkTarget(flag, address))
	}
	return errors.Join(errs...)
}

// checkTarget reports an error unless the address is HOST:PORT, to connect to.
func checkTarget(flag, address string) error {
	host, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil || host == "" || port == "0" || strings.ContainsAny(host, " /") {
		return fmt.Errorf("%s is %q, not HOST:PORT", flag, address)
	}
	return nil
}

func closeConn(conn *grpc.ClientConn) {
	_ = conn.Close() // It fails only if it was closed before.
}

package grpcx

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Repeated calls wait up to these times, a fifth more or less, so that not all come back at once.
const (
	maxAttempts  = 3
	firstBackoff = "0.05s"
	maxBackoff   = "0.5s"
)

// Each call that fails takes a token, each that succeeds gives a part of one back, and nothing is repeated while fewer
// than half are left: if everything fails, a connection repeats ten calls, and afterwards one for ten that succeed.
const (
	repeatTokens = 20
	tokenRatio   = 0.1
)

// patience is how long a call waits for a service that cannot be reached: about as long as one takes to start.
const patience = time.Second

// public is the package of the public contract.
const public = "gatehouse.v1"

// Reads are the methods of the public contract that are mapped to GET, by their full names: they change nothing, and
// can be called twice.
func Reads() map[string]bool {
	reads := map[string]bool{}
	protoregistry.GlobalFiles.RangeFilesByPackage(public, func(file protoreflect.FileDescriptor) bool {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				method := service.Methods().Get(j)
				rule, _ := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
				if rule.GetGet() != "" {
					reads[fmt.Sprintf("/%s/%s", service.FullName(), method.Name())] = true
				}
			}
		}
		return true
	})
	return reads
}

// Persist makes a connection repeat calls of these methods where the service was lost, or says itself that it is
// UNAVAILABLE; calls of any method, which could not be sent, wait for a service that is being restarted. One hop of a
// call should do so, not each: attempts multiply.
func Persist(methods map[string]bool) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultServiceConfig(repeating(methods)), grpc.WithChainUnaryInterceptor(patient),
	}
}

func repeating(methods map[string]bool) string {
	type name struct {
		Service string `json:"service"`
		Method  string `json:"method"`
	}
	var names []name
	for _, method := range slices.Sorted(maps.Keys(methods)) {
		service, short, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
		names = append(names, name{service, short})
	}
	config, err := json.Marshal(map[string]any{
		"loadBalancingConfig": []any{map[string]any{"round_robin": struct{}{}}},
		"methodConfig": []any{map[string]any{"name": names, "retryPolicy": map[string]any{
			"maxAttempts": maxAttempts, "initialBackoff": firstBackoff, "maxBackoff": maxBackoff,
			"backoffMultiplier": 2, "retryableStatusCodes": []string{"UNAVAILABLE"},
		}}},
		"retryThrottling": map[string]any{"maxTokens": repeatTokens, "tokenRatio": tokenRatio},
	})
	if err != nil { // Of maps and strings, it cannot fail.
		panic(err)
	}
	return string(config)
}

// patient waits for a service of which no replica can be reached, and then makes the call that was not sent.
func patient(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
	options ...grpc.CallOption,
) error {
	var at peer.Peer // Nobody, if the call was not sent.
	err := invoke(ctx, method, req, reply, conn, append(options, grpc.Peer(&at))...)
	if status.Code(err) != codes.Unavailable || at.Addr != nil {
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for state := conn.GetState(); state != connectivity.Ready; state = conn.GetState() {
		if !conn.WaitForStateChange(waiting, state) {
			return err
		}
	}
	return invoke(ctx, method, req, reply, conn, options...)
}

package grpcx

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/grpc"
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
// UNAVAILABLE; calls of any method, which could not be sent, wait for a service that is being restarted; and one that
// does not answer at all is left alone for a while. One hop of a call should do so, not each: attempts multiply.
func Persist(methods map[string]bool) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDefaultServiceConfig(repeating(methods)), grpc.WithChainUnaryInterceptor(newCircuit().call),
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

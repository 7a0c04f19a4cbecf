package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"

	_ "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1" // Not for the public, but linked in.
)

// newReflectingEnv is a gateway with server reflection.
func newReflectingEnv(t *testing.T, prepare ...func(*Service)) *testEnv {
	t.Helper()
	conn := newUpstream(t).serve(t)
	return newConfiguredEnv(t, Config{Issuer: issuer, Audience: audience, Reflection: true}, conn, conn, prepare...)
}

// reflects opens a stream of reflection.
func reflects(t *testing.T, conn *grpc.ClientConn) reflectionpb.ServerReflection_ServerReflectionInfoClient {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// exchange sends a request and reads the answer.
func exchange(
	stream reflectionpb.ServerReflection_ServerReflectionInfoClient, request *reflectionpb.ServerReflectionRequest,
) (*reflectionpb.ServerReflectionResponse, error) {
	if err := stream.Send(request); err != nil && !errors.Is(err, io.EOF) { // EOF: Recv tells why.
		return nil, err
	}
	return stream.Recv()
}

func mustExchange(
	t *testing.T, stream reflectionpb.ServerReflection_ServerReflectionInfoClient, request *reflectionpb.ServerReflectionRequest,
) *reflectionpb.ServerReflectionResponse {
	t.Helper()
	response, err := exchange(stream, request)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

func listsServices() *reflectionpb.ServerReflectionRequest {
	return &reflectionpb.ServerReflectionRequest{
		Host: "here", MessageRequest: &reflectionpb.ServerReflectionRequest_ListServices{ListServices: "*"},
	}
}

func describes(symbol string) *reflectionpb.ServerReflectionRequest {
	return &reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: symbol},
	}
}

func extends(message string, number int32) *reflectionpb.ServerReflectionRequest {
	return &reflectionpb.ServerReflectionRequest{
		MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingExtension{
			FileContainingExtension: &reflectionpb.ExtensionRequest{ContainingType: message, ExtensionNumber: number},
		},
	}
}

func TestReflection(t *testing.T) {
	services := []string{
		"gatehouse.v1.AdminService", "gatehouse.v1.KeyService", "gatehouse.v1.SessionService", "gatehouse.v1.UserService",
	}
	env := newReflectingEnv(t)
	stream := reflects(t, env.conn)
	t.Run("lists_the_public_services", func(t *testing.T) {
		response := mustExchange(t, stream, listsServices())
		var listed []string
		for _, service := range response.GetListServicesResponse().GetService() {
			listed = append(listed, service.GetName())
		}
		if !slices.Equal(listed, services) {
			t.Errorf("services are %v, want %v", listed, services)
		}
		if !proto.Equal(response.GetOriginalRequest(), listsServices()) || response.GetValidHost() != "here" {
			t.Errorf("the answer does not say to what: %v", response)
		}
	})
	t.Run("describes_the_services_and_all_that_they_need_each_file_once", func(t *testing.T) {
		files := map[string]*descriptorpb.FileDescriptorProto{}
		for i, symbol := range append(services, "gatehouse.v1.User", "gatehouse.v1.UserService.ReadUser") {
			got := mustExchange(t, stream, describes(symbol)).GetFileDescriptorResponse().GetFileDescriptorProto()
			for j, encoded := range got {
				file := &descriptorpb.FileDescriptorProto{}
				if err := proto.Unmarshal(encoded, file); err != nil {
					t.Fatal(err)
				}
				if _, again := files[file.GetName()]; again && j > 0 {
					t.Errorf("%s comes again, with %s", file.GetName(), symbol)
				}
				files[file.GetName()] = file
			}
			if len(got) == 0 || i == 0 && len(got) < 3 {
				t.Errorf("%s is described by %d files", symbol, len(got))
			}
		}
		set := &descriptorpb.FileDescriptorSet{File: slices.Collect(maps.Values(files))}
		if _, err := protodesc.NewFiles(set); err != nil {
			t.Errorf("the files are not complete: %v", err)
		}
	})
	t.Run("describes_files_and_extensions", func(t *testing.T) {
		byName := &reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_FileByFilename{FileByFilename: "gatehouse/v1/policy.proto"},
		}
		for _, request := range []*reflectionpb.ServerReflectionRequest{byName, extends("google.protobuf.MethodOptions", 50301)} {
			got := mustExchange(t, stream, request).GetFileDescriptorResponse().GetFileDescriptorProto()
			file := &descriptorpb.FileDescriptorProto{}
			if len(got) == 0 || proto.Unmarshal(got[0], file) != nil || file.GetName() != "gatehouse/v1/policy.proto" {
				t.Errorf("%v is answered with %d files, first %s", request, len(got), file.GetName())
			}
		}
		got := mustExchange(t, stream, &reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_AllExtensionNumbersOfType{
				AllExtensionNumbersOfType: "google.protobuf.MethodOptions",
			},
		}).GetAllExtensionNumbersResponse().GetExtensionNumber()
		if !slices.Contains(got, 50301) || !slices.IsSorted(got) {
			t.Errorf("extensions are %v", got)
		}
	})
	t.Run("knows_nothing_else_that_is_linked_in", func(t *testing.T) {
		for _, request := range []*reflectionpb.ServerReflectionRequest{
			describes("gatehouse.internal.v1.ChangeService"), describes("grpc.health.v1.Health"), describes(""), describes("no.Such"),
			extends("google.protobuf.MethodOptions", 1), extends("", 0),
		} {
			if code := mustExchange(t, stream, request).GetErrorResponse().GetErrorCode(); code != int32(codes.NotFound) {
				t.Errorf("%v is answered with code %d", request, code)
			}
		}
		nothing := mustExchange(t, stream, &reflectionpb.ServerReflectionRequest{})
		if code := nothing.GetErrorResponse().GetErrorCode(); code != int32(codes.InvalidArgument) {
			t.Errorf("a request for nothing is answered with code %d", code)
		}
	})
	t.Run("ends_when_the_client_has_asked_all", func(t *testing.T) {
		if err := stream.CloseSend(); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
			t.Errorf("the stream ends with %v", err)
		}
	})
	t.Run("is_off_by_default", func(t *testing.T) {
		env, _ := newServedEnv(t)
		_, err := exchange(reflects(t, env.conn), listsServices())
		wantStatus(t, err, codes.Unimplemented, "ROUTE_NOT_FOUND")
	})
}

func TestReflectionLimits(t *testing.T) {
	const (
		streamsPerClient  = 4
		requestsPerStream = 256
		maxRequestBytes   = 4 << 10
	)
	t.Run("streams_are_shared_out_among_clients", func(t *testing.T) {
		env := newReflectingEnv(t)
		for range streamsPerClient {
			mustExchange(t, reflects(t, env.conn), listsServices())
		}
		_, err := exchange(reflects(t, env.conn), listsServices())
		wantStatus(t, err, codes.ResourceExhausted, "OVERLOADED")
		mustExchange(t, reflects(t, env.grpcFrom(t, bystander)), listsServices())
		env.wantBystanderServed(t)
	})
	t.Run("a_stream_counts_until_its_answer_is_taken", func(t *testing.T) {
		env := newReflectingEnv(t)
		conn := dialFrom(t, attacker, env.conn.Target())
		framer := withoutWindow(t, conn)
		request, err := proto.Marshal(describes("gatehouse.v1.UserService"))
		if err != nil {
			t.Fatal(err)
		}
		body := append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(request))), request...)
		for call := range uint32(streamsPerClient) {
			headers := grpcHeaders(reflectionpb.ServerReflection_ServerReflectionInfo_FullMethodName)
			if err := errors.Join(startRequest(framer, 2*call+1, headers, false), framer.WriteData(2*call+1, true, body)); err != nil {
				t.Fatal(err)
			}
		}
		streams := env.service.grpc.Reflection.Streams
		awaitCondition(t, "all streams have answered and have a share", func() bool {
			underWay, _ := env.service.edge.Calls.UnderWay.Usage()
			held, _ := streams.Usage()
			return underWay == 0 && held == streamsPerClient
		})
		_, err = exchange(reflects(t, env.conn), listsServices())
		wantStatus(t, err, codes.ResourceExhausted, "OVERLOADED")
		mustExchange(t, reflects(t, env.grpcFrom(t, bystander)), listsServices())
		env.wantBystanderServed(t)
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
		awaitCondition(t, "the client has its share again", func() bool {
			_, err := exchange(reflects(t, env.conn), listsServices())
			return err == nil
		})
	})
	t.Run("a_stream_has_a_number_of_requests", func(t *testing.T) {
		env := newReflectingEnv(t)
		stream := reflects(t, env.conn)
		for range requestsPerStream {
			mustExchange(t, stream, describes("gatehouse.v1.UserService"))
		}
		_, err := exchange(stream, listsServices())
		wantStatus(t, err, codes.ResourceExhausted, "OVERLOADED")
		env.wantBystanderServed(t)
	})
	t.Run("a_request_is_short", func(t *testing.T) {
		env := newReflectingEnv(t)
		_, err := exchange(reflects(t, env.conn), describes(string(make([]byte, maxRequestBytes))))
		if status.Code(err) != codes.ResourceExhausted {
			t.Errorf("a long request gets %v", err)
		}
	})
	t.Run("a_client_that_neither_asks_nor_reads_is_sent_away", func(t *testing.T) {
		env := newReflectingEnv(t, func(s *Service) { s.grpc.Reflection.Timeout = 50 * time.Millisecond })
		lazy := env.grpcFrom(t, attacker)
		idle, unread := reflects(t, env.conn), reflects(t, lazy)
		for range requestsPerStream { // More than the client's window and the gateway's buffer hold.
			if err := unread.Send(describes("gatehouse.v1.UserService")); err != nil {
				break
			}
		}
		_, err := idle.Recv()
		wantStatus(t, err, codes.DeadlineExceeded, "DEADLINE_EXCEEDED")
		if err := lazy.Close(); err != nil {
			t.Fatal(err)
		}
		awaitCondition(t, "no stream has a share", func() bool {
			held, _ := env.service.grpc.Reflection.Streams.Usage()
			return held == 0
		})
		env.wantBystanderServed(t)
	})
}

package grpcproxy

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

// Bounds of server reflection, which needs no token and whose answers are a thousand times as long as their requests. A
// tool opens one stream, on which it sends one request for each name.
const (
	maxReflectionStreams          = 64
	maxReflectionStreamsPerClient = 4
	maxReflectionRequests         = 256 // of a stream
)

// Reflection implements grpc.reflection.v1 for the public services, and for no others that are linked in. It replaces
// the reflection service of grpc-go, which encodes every description again for every request.
type Reflection struct {
	reflectionpb.UnimplementedServerReflectionServer

	Streams *shares.Pool
	Timeout time.Duration // of a stream

	services []*reflectionpb.ServiceResponse
	files    map[string]*reflectedFile // by path
}

// reflectedFile is a file of the contract, or one that it imports.
type reflectedFile struct {
	path    string
	encoded []byte // a FileDescriptorProto
	imports []*reflectedFile
}

// NewReflection returns the reflection of these services.
func NewReflection(services []edge.Service) (*Reflection, error) {
	r := &Reflection{
		Streams: shares.NewFair(maxReflectionStreams, maxReflectionStreamsPerClient),
		Timeout: deadlines.Request,
		files:   map[string]*reflectedFile{},
	}
	for _, service := range services {
		descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(service.Name))
		if err != nil {
			return nil, fmt.Errorf("find service %s: %w", service.Name, err)
		}
		if _, err := r.add(descriptor.ParentFile()); err != nil {
			return nil, err
		}
		r.services = append(r.services, &reflectionpb.ServiceResponse{Name: service.Name})
	}
	return r, nil
}

// add adds a file and its imports.
func (r *Reflection) add(descriptor protoreflect.FileDescriptor) (*reflectedFile, error) {
	if known := r.files[descriptor.Path()]; known != nil {
		return known, nil
	}
	encoded, err := proto.Marshal(protodesc.ToFileDescriptorProto(descriptor))
	if err != nil {
		return nil, fmt.Errorf("encode the descriptor of %s: %w", descriptor.Path(), err)
	}
	file := &reflectedFile{path: descriptor.Path(), encoded: encoded}
	for i := range descriptor.Imports().Len() {
		if descriptor.Imports().Get(i).IsPlaceholder() { // A file that is not linked in.
			continue
		}
		imported, err := r.add(descriptor.Imports().Get(i).FileDescriptor)
		if err != nil {
			return nil, err
		}
		file.imports = append(file.imports, imported)
	}
	r.files[file.path] = file
	return file, nil
}

// registerAlphaReflection registers reflection also as grpc.reflection.v1alpha, which many clients request first or
// only. Its messages are those of v1 under another name.
func registerAlphaReflection(registrar grpc.ServiceRegistrar, reflection *Reflection) {
	alpha := reflectionpb.ServerReflection_ServiceDesc
	alpha.ServiceName = "grpc.reflection.v1alpha.ServerReflection"
	registrar.RegisterService(&alpha, reflection)
}

// ServerReflectionInfo implements grpc.reflection.v1.
func (r *Reflection) ServerReflectionInfo(stream reflectionpb.ServerReflection_ServerReflectionInfoServer) error {
	release, ok := r.Streams.Acquire(edge.ClientKey(stream.Context()), 1)
	if !ok {
		return apierr.Status(apierr.Overloaded(r.Timeout)).Err()
	}
	defer afterAnswer(stream.Context(), release)
	answered := make(chan error, 1)
	// It ends with the stream, even while it waits for a client that neither sends nor reads.
	go func() { answered <- r.answerAll(stream) }()
	timeout := time.NewTimer(r.Timeout)
	defer timeout.Stop()
	select {
	case err := <-answered:
		return apierr.Status(err).Err()
	case <-timeout.C:
		return apierr.Status(apierr.DeadlineExceeded(errors.New("the stream took too long"))).Err()
	}
}

func (r *Reflection) answerAll(stream reflectionpb.ServerReflection_ServerReflectionInfoServer) (err error) {
	defer grpcx.Recover(&err) // answerAll runs in its own goroutine.
	sent := map[*reflectedFile]bool{}
	for range maxReflectionRequests {
		request, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := stream.Send(r.answer(request, sent)); err != nil {
			return err
		}
	}
	return apierr.Overloaded(r.Timeout)
}

// answer returns the answer to a request, without the files that were sent on its stream already. It adds the new files
// to sent.
func (r *Reflection) answer(
	request *reflectionpb.ServerReflectionRequest, sent map[*reflectedFile]bool,
) *reflectionpb.ServerReflectionResponse {
	response := &reflectionpb.ServerReflectionResponse{ValidHost: request.GetHost(), OriginalRequest: request}
	switch asked := request.GetMessageRequest().(type) {
	case *reflectionpb.ServerReflectionRequest_ListServices:
		response.MessageResponse = &reflectionpb.ServerReflectionResponse_ListServicesResponse{
			ListServicesResponse: &reflectionpb.ListServiceResponse{Service: r.services},
		}
	case *reflectionpb.ServerReflectionRequest_FileByFilename:
		answerWithFile(response, r.files[asked.FileByFilename], sent)
	case *reflectionpb.ServerReflectionRequest_FileContainingSymbol:
		answerWithFile(response, r.fileOf(asked.FileContainingSymbol), sent)
	case *reflectionpb.ServerReflectionRequest_FileContainingExtension:
		answerWithFile(response, r.fileOfExtension(asked.FileContainingExtension), sent)
	case *reflectionpb.ServerReflectionRequest_AllExtensionNumbersOfType:
		r.answerWithExtensions(response, asked.AllExtensionNumbersOfType)
	default:
		answerWithError(response, codes.InvalidArgument, "the request is empty")
	}
	return response
}

// answerWithFile sets the answer to a file, followed by the files that it imports and that were not sent.
func answerWithFile(
	response *reflectionpb.ServerReflectionResponse, file *reflectedFile, sent map[*reflectedFile]bool,
) {
	if file == nil {
		answerWithError(response, codes.NotFound, "name not found")
		return
	}
	files := &reflectionpb.FileDescriptorResponse{FileDescriptorProto: [][]byte{file.encoded}}
	sent[file] = true
	for queue := slices.Clone(file.imports); len(queue) > 0; queue = queue[1:] {
		if next := queue[0]; !sent[next] {
			sent[next] = true
			files.FileDescriptorProto = append(files.FileDescriptorProto, next.encoded)
			queue = append(queue, next.imports...)
		}
	}
	response.MessageResponse = &reflectionpb.ServerReflectionResponse_FileDescriptorResponse{FileDescriptorResponse: files}
}

func (r *Reflection) answerWithExtensions(response *reflectionpb.ServerReflectionResponse, message string) {
	if r.fileOf(message) == nil {
		answerWithError(response, codes.NotFound, "name not found")
		return
	}
	numbers := map[int32]bool{}
	protoregistry.GlobalTypes.RangeExtensionsByMessage(protoreflect.FullName(message),
		func(extension protoreflect.ExtensionType) bool {
			if r.files[extension.TypeDescriptor().ParentFile().Path()] != nil {
				numbers[int32(extension.TypeDescriptor().Number())] = true
			}
			return true
		})
	response.MessageResponse = &reflectionpb.ServerReflectionResponse_AllExtensionNumbersResponse{
		AllExtensionNumbersResponse: &reflectionpb.ExtensionNumberResponse{
			BaseTypeName: message, ExtensionNumber: slices.Sorted(maps.Keys(numbers)),
		},
	}
}

func answerWithError(response *reflectionpb.ServerReflectionResponse, code codes.Code, message string) {
	response.MessageResponse = &reflectionpb.ServerReflectionResponse_ErrorResponse{
		ErrorResponse: &reflectionpb.ErrorResponse{
			ErrorCode:    int32(code), //nolint:gosec // Codes are below 17.
			ErrorMessage: message,
		},
	}
}

// fileOf returns the file that declares a name, or nil.
func (r *Reflection) fileOf(symbol string) *reflectedFile {
	descriptor, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(symbol))
	if err != nil {
		return nil
	}
	return r.files[descriptor.ParentFile().Path()]
}

func (r *Reflection) fileOfExtension(asked *reflectionpb.ExtensionRequest) *reflectedFile {
	extension, err := protoregistry.GlobalTypes.FindExtensionByNumber(
		protoreflect.FullName(asked.GetContainingType()), protoreflect.FieldNumber(asked.GetExtensionNumber()))
	if err != nil {
		return nil
	}
	return r.files[extension.TypeDescriptor().ParentFile().Path()]
}

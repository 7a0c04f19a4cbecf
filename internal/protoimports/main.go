// Command protoimports writes the proto files that the contract imports from elsewhere into a folder, so that buf can
// compile the contract with nothing but the Go module proxy.
//
// The files are printed from the descriptors that are linked into their Go packages. Their versions are therefore those
// of go.mod, and no foreign file is committed.
package main

import (
	"fmt"
	"log"
	"os"

	"github.com/jhump/protoreflect/v2/protoprint"
	"google.golang.org/protobuf/reflect/protoreflect"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	openapi "github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-openapiv3/options"
	"google.golang.org/genproto/googleapis/api/annotations"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: protoimports FOLDER")
	}
	if err := write(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func write(folder string) error {
	files := []protoreflect.FileDescriptor{
		annotations.File_google_api_annotations_proto,
		annotations.File_google_api_http_proto,
		annotations.File_google_api_field_behavior_proto,
		openapi.File_protoc_gen_openapiv3_options_annotations_proto,
		openapi.File_protoc_gen_openapiv3_options_openapiv3_proto,
		validate.File_buf_validate_validate_proto,
	}
	printer := protoprint.Printer{SortElements: true}
	if err := printer.PrintProtosToFileSystem(files, folder); err != nil {
		return fmt.Errorf("print the imported protos to %s: %w", folder, err)
	}
	return nil
}

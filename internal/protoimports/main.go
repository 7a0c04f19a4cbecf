// Command protoimports writes the third-party proto files that the contract imports to a folder, so that buf, protoc
// and other compilers need no other source than the Go modules.
//
// The files are printed from the descriptors in their Go packages. Their versions are therefore those of go.mod, and no
// third-party file is committed.
package main

import (
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/jhump/protoreflect/v2/protoprint"
	"google.golang.org/protobuf/reflect/protoreflect"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/genproto/googleapis/rpc/status"
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
		validate.File_buf_validate_validate_proto,
		// For the details of errors in grpc-status-details-bin.
		status.File_google_rpc_status_proto,
		errdetails.File_google_rpc_error_details_proto,
	}
	printer := protoprint.Printer{}
	for _, file := range files {
		source, err := printer.PrintProtoToString(file)
		if err != nil {
			return fmt.Errorf("print %s: %w", file.Path(), err)
		}
		path := filepath.Join(folder, filepath.FromSlash(file.Path()))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // public files
			return fmt.Errorf("make the folder of %s: %w", file.Path(), err)
		}
		if err := os.WriteFile(path, []byte(unfoldLists(source)), 0o644); err != nil { //nolint:gosec // a public file
			return fmt.Errorf("write %s: %w", file.Path(), err)
		}
	}
	return nil
}

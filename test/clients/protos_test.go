package clients

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/descriptorpb"

	_ "google.golang.org/genproto/googleapis/rpc/errdetails" // whose proto is written too

	_ "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// TestProtos compiles and uses the proto files that others get: the contract with what it imports, in one folder. Buf
// compiles them in `make lint`.
func TestProtos(t *testing.T) {
	t.Parallel()
	protos := filepath.Join(t.TempDir(), "protos")
	runIn(t, filepath.Join("..", ".."), nil, "make", "protos", "PROTOS="+protos)

	t.Run("protoc_reads_what_the_services_were_built_with", func(t *testing.T) {
		t.Parallel()
		output := filepath.Join(t.TempDir(), "protos.binpb")
		files, err := filepath.Glob(filepath.Join(protos, "*", "*", "*.proto"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s holds no protos (%v)", protos, err)
		}
		runIn(t, protos, nil, "protoc", append([]string{"-I", protos, "--descriptor_set_out", output}, files...)...)
		compareDescriptors(t, output)
	})
	t.Run("grpc-js_signs_up_logs_in_and_logs_out", func(t *testing.T) {
		t.Parallel()
		startUp(t).runNode(t, "grpc_js.js", protos)
	})
}

// compareDescriptors compares a file of descriptors with those that are linked into this program.
func compareDescriptors(t *testing.T, path string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var compiled descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(raw, &compiled); err != nil {
		t.Fatal(err)
	}
	for _, file := range compiled.GetFile() {
		linked, err := protoregistry.GlobalFiles.FindFileByPath(file.GetName())
		if err != nil {
			t.Errorf("%s is written, and not linked: %v", file.GetName(), err)
			continue
		}
		want := protodesc.ToFileDescriptorProto(linked)
		if diff := cmp.Diff(want, file, protocmp.Transform(), protocmp.SortRepeated(func(a, b string) bool { return a < b })); diff != "" {
			t.Errorf("%s is written (+) as it is not linked (-):\n%.2000s", file.GetName(), diff)
		}
	}
}

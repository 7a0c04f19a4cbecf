package gateway

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net/http"
	"strconv"
	"testing"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
)

// http2Client returns a client that speaks HTTP/2 in clear text from an address of this machine.
func http2Client(t *testing.T, address string) *http.Client {
	t.Helper()
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols, DialContext: dialerFrom(address).DialContext, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// compressed returns a message of zeros of the greatest size, compressed, with its gRPC prefix.
func compressed(t *testing.T) []byte {
	t.Helper()
	var message bytes.Buffer
	writer := gzip.NewWriter(&message)
	if _, err := writer.Write(make([]byte, grpcx.MaxMessageSize)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	prefix := binary.BigEndian.AppendUint32([]byte{1}, uint32(message.Len()))
	return append(prefix, message.Bytes()...)
}

// statusOf reads a response of native gRPC to its end and returns the status of the call.
func statusOf(t *testing.T, response *http.Response) error {
	t.Helper()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Fatal(err)
	}
	header := response.Trailer
	if response.Header.Get("Grpc-Status") != "" { // Trailers alone.
		header = response.Header
	}
	code, err := strconv.ParseUint(header.Get("Grpc-Status"), 10, 32)
	if err != nil {
		t.Fatalf("grpc-status is %q: %v", header.Get("Grpc-Status"), err)
	}
	details, err := base64.RawStdEncoding.DecodeString(header.Get("Grpc-Status-Details-Bin"))
	if err != nil {
		t.Fatal(err)
	}
	whole := &spb.Status{Code: int32(code), Message: header.Get("Grpc-Message")}
	if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(details, whole); err != nil {
		t.Fatal(err)
	}
	return status.FromProto(whole).Err()
}

// TestCompressedMessages writes gRPC frames itself: a compressor that this process registers would be there for the gateway
// as well.
func TestCompressedMessages(t *testing.T) {
	env, _ := newServedEnv(t)
	client := http2Client(t, "127.0.0.1")
	call := func(encoding string, message []byte) codes.Code {
		t.Helper()
		url := "http://" + env.conn.Target() + gatehousev1.UserService_CreateUser_FullMethodName
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(message))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Content-Type", "application/grpc")
		request.Header.Set("Te", "trailers")
		request.Header.Set("Grpc-Encoding", encoding)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		return status.Code(statusOf(t, response))
	}
	for _, test := range []struct {
		name, encoding string
		want           codes.Code
	}{
		{"gzip", "gzip", codes.Unimplemented},
		{"an encoding that does not exist", "brotli", codes.Unimplemented},
		{"no encoding, though the message says that it is compressed", "identity", codes.InvalidArgument},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := call(test.encoding, compressed(t)); got != test.want {
				t.Errorf("code is %v, want %v", got, test.want)
			}
		})
	}
	t.Run("bystander", func(t *testing.T) {
		users := gatehousev1.NewUserServiceClient(env.grpcFrom(t, "127.0.0.2"))
		if _, err := users.CreateUser(t.Context(), &gatehousev1.CreateUserRequest{}); err != nil {
			t.Error(err)
		}
	})
}

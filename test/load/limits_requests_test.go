package load

import (
	"bytes"
	"compress/gzip"
	"context"
	wire "encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

const (
	maxSmallRequest = 16 << 10  // bytes of a request of the public
	maxLargeRequest = 256 << 10 // bytes of a request with metadata

	// perClient is how many calls each client makes: more than a share of the gateway's budget of bytes, and less than
	// one of its connections and calls.
	perClient = 350
)

// opening opens what is measured, and returns what the gateway made of it.
type opening func(tb testing.TB, env *testEnv, hold *holder) (held string)

// clientAddresses are those of so many clients.
func clientAddresses(clients int) []net.IP {
	all := make([]net.IP, clients)
	for i := range all {
		all[i] = net.IPv4(127, 0, 1, byte(1+i))
	}
	return all
}

// withheldBodies are sign-ups over REST of which all is sent but the last byte.
func withheldBodies(clients int) opening {
	return func(tb testing.TB, env *testEnv, hold *holder) string {
		tb.Helper()
		head := "POST /v1/users HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
		var conns []net.Conn
		for _, client := range clientAddresses(clients) {
			for range perClient {
				conn := hold.dialFrom(tb, client, env.rest)
				write(tb, conn, fmt.Sprintf(head, maxSmallRequest)+strings.Repeat(" ", maxSmallRequest-1))
				conns = append(conns, conn)
			}
		}
		return refusedOf(conns)
	}
}

// refusedOf counts the connections on which an answer has come before the request was complete.
func refusedOf(conns []net.Conn) string {
	var group sync.WaitGroup
	var refused atomic.Int64
	for _, conn := range conns {
		group.Go(func() {
			_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
			if n, _ := conn.Read(make([]byte, 1<<10)); n > 0 {
				refused.Add(1)
			}
		})
	}
	group.Wait()
	return fmt.Sprintf("%d, of which %d are refused", len(conns), refused.Load())
}

// withheldMessages are sign-ups over native gRPC of which all is sent but the last byte, fifty on a connection.
func withheldMessages(clients int) opening {
	return func(tb testing.TB, env *testEnv, hold *holder) string {
		tb.Helper()
		const perConn = 50
		var group sync.WaitGroup
		var ended atomic.Int64
		message := make([]byte, maxSmallRequest-1)
		for _, client := range clientAddresses(clients) {
			for range perClient / perConn {
				conn := hold.dialFrom(tb, client, env.native)
				framer := greet(tb, conn)
				group.Go(func() { ended.Add(withhold(conn, framer, perConn, message)) })
			}
		}
		group.Wait()
		return fmt.Sprintf("%d, of which %d are refused", clients*perClient, ended.Load())
	}
}

// withhold starts calls, sends their messages as far as the gateway lets it, and counts those that end within 3 s.
func withhold(conn net.Conn, framer *http2.Framer, calls int, message []byte) (ended int64) {
	_ = conn.SetDeadline(time.Now().Add(3 * time.Second))
	windows := newWindows(calls)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		windows.watch(framer)
	}()
	prefix := wire.BigEndian.AppendUint32([]byte{0}, uint32(len(message)+1))
	for call := range calls {
		id := uint32(2*call + 1)
		_ = framer.WriteHeaders(http2.HeadersFrameParam{
			StreamID: id, BlockFragment: callHeaders(gatehousev1.UserService_CreateUser_FullMethodName), EndHeaders: true,
		})
		if windows.spend(id, len(prefix)+len(message)) {
			_ = framer.WriteData(id, false, prefix)
			_ = framer.WriteData(id, false, message)
		}
	}
	<-watched
	_ = conn.SetDeadline(time.Time{})
	for _, over := range windows.ended {
		if over {
			ended++
		}
	}
	return ended
}

// largestREST sends the largest bodies, all at once.
func largestREST(tb testing.TB, env *testEnv, _ *holder) string {
	tb.Helper()
	body := `{"fullName":"` + strings.Repeat("a", maxLargeRequest-20) + `"}`
	return atOnce(func() string {
		request, err := http.NewRequestWithContext(tb.Context(), http.MethodPatch, "http://"+env.rest+"/v1/users/me", strings.NewReader(body))
		if err != nil {
			return err.Error()
		}
		request.Header.Set("Content-Type", "application/json")
		request.Header.Set("Authorization", "Bearer "+env.accounts[0].token)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return "broken off"
		}
		defer response.Body.Close()
		_, _ = io.Copy(io.Discard, response.Body)
		return response.Status
	})
}

// largestGRPC sends the largest messages, all at once.
func largestGRPC(tb testing.TB, env *testEnv, _ *holder) string {
	tb.Helper()
	users := gatehousev1.NewUserServiceClient(env.dial(tb))
	request := &gatehousev1.UpdateUserRequest{
		User: &gatehousev1.User{Id: "me", FullName: strings.Repeat("a", maxLargeRequest-20)},
	}
	return atOnce(func() string {
		_, err := users.UpdateUser(env.accounts[0].as(context.Background()), request, grpc.WaitForReady(true))
		return apierr.ReasonName(apierr.ReasonOf(status.Convert(err)))
	})
}

// compressedMessages are of a kilobyte, and would be of a megabyte.
func compressedMessages(tb testing.TB, env *testEnv, _ *holder) string {
	tb.Helper()
	var message bytes.Buffer
	writer := gzip.NewWriter(&message)
	_, _ = writer.Write(make([]byte, 1<<20))
	_ = writer.Close()
	body := append(wire.BigEndian.AppendUint32([]byte{1}, uint32(message.Len())), message.Bytes()...)
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: &protocols}}
	defer client.CloseIdleConnections()
	url := "http://" + env.native + gatehousev1.UserService_CreateUser_FullMethodName
	count := map[string]int{}
	for range 5 {
		count[atOnce(func() string {
			request, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, url, bytes.NewReader(body))
			if err != nil {
				return err.Error()
			}
			request.Header = http.Header{
				"Content-Type": {"application/grpc"}, "Te": {"trailers"}, "Grpc-Encoding": {"gzip"},
			}
			response, err := client.Do(request)
			if err != nil {
				return "broken off"
			}
			defer response.Body.Close()
			return "grpc-status " + response.Header.Get("Grpc-Status")
		})]++
	}
	return fmt.Sprint(count)
}

// unreadReflection requests the whole contract on each stream and opens no flow-control window for the answers.
func unreadReflection(clients int) opening {
	return func(tb testing.TB, env *testEnv, hold *holder) string {
		tb.Helper()
		const perConn = 50
		request, err := proto.Marshal(&reflectionpb.ServerReflectionRequest{
			MessageRequest: &reflectionpb.ServerReflectionRequest_FileContainingSymbol{
				FileContainingSymbol: gatehousev1.UserService_ServiceDesc.ServiceName,
			},
		})
		if err != nil {
			tb.Fatal(err)
		}
		body := append(wire.BigEndian.AppendUint32([]byte{0}, uint32(len(request))), request...)
		for _, client := range clientAddresses(clients) {
			for range perClient / perConn {
				conn := hold.dialFrom(tb, client, env.native)
				framer := greetWith(tb, conn, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
				for call := range perConn {
					id := uint32(2*call + 1)
					_ = framer.WriteHeaders(http2.HeadersFrameParam{
						StreamID: id, BlockFragment: callHeaders(reflectionpb.ServerReflection_ServerReflectionInfo_FullMethodName),
						EndHeaders: true,
					})
					_ = framer.WriteData(id, true, body)
				}
			}
		}
		env.wantBystanderServed(tb) // The gateway has come to the last of them, or nearly.
		return fmt.Sprint(clients * perClient)
	}
}

package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// client is a client at an address of its own, with a connection of its own for each transport.
type client struct {
	native *grpc.ClientConn
	rest   *http.Client
	base   string // URL of the REST API
}

func newClient(tb testing.TB, env *testEnv, address string) *client {
	tb.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	native, err := grpc.NewClient(env.native, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) {
			return dialer.DialContext(ctx, "tcp", to)
		}))
	if err != nil {
		tb.Fatal(err)
	}
	rest := &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 1}
	tb.Cleanup(func() {
		rest.CloseIdleConnections()
		_ = native.Close()
	})
	return &client{native: native, rest: &http.Client{Transport: rest}, base: "http://" + env.rest}
}

// logIn returns the code of a log-in, over REST or native gRPC.
func (c *client) logIn(ctx context.Context, overREST bool, request *gatehousev1.CreateSessionRequest) (codes.Code, error) {
	if overREST {
		return c.post(ctx, "/v1/sessions", map[string]string{"email": request.GetEmail(), "password": request.GetPassword()})
	}
	_, err := gatehousev1.NewSessionServiceClient(c.native).CreateSession(ctx, request)
	return status.Code(err), err
}

// signUp returns the code of a sign-up, over REST or native gRPC.
func (c *client) signUp(ctx context.Context, overREST bool, email string) (codes.Code, error) {
	if overREST {
		return c.post(ctx, "/v1/users",
			map[string]string{"email": email, "fullName": "Ada Lovelace", "password": floodPassword})
	}
	_, err := gatehousev1.NewUserServiceClient(c.native).CreateUser(ctx,
		&gatehousev1.CreateUserRequest{Email: email, FullName: "Ada Lovelace", Password: floodPassword})
	return status.Code(err), err
}

func (c *client) post(ctx context.Context, path string, body map[string]string) (codes.Code, error) {
	encoded, err := json.Marshal(body)
	if err != nil {
		return codes.Internal, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(encoded))
	if err != nil {
		return codes.Internal, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := c.rest.Do(request)
	if err != nil {
		return codes.Unavailable, err
	}
	defer response.Body.Close()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(response.Body); err != nil {
		return codes.Unavailable, err
	}
	switch response.StatusCode {
	case http.StatusOK:
		return codes.OK, nil
	case http.StatusUnauthorized:
		return codes.Unauthenticated, nil
	case http.StatusTooManyRequests:
		return codes.ResourceExhausted, errors.New(answer.String())
	default:
		return codes.Unknown, fmt.Errorf("%s: %s", response.Status, answer.String())
	}
}

// floodPassword is the password of all clients of these tests.
const floodPassword = "correct horse"

// hammer is many connections that each send the next call as soon as the one before is answered, until stop.
type hammer struct {
	refused atomic.Int64
	hashed  []atomic.Int64 // calls that were not refused, by address
	stop    func()
}

// newHammer starts so many connections from each of the addresses. Each call is made with its number.
func newHammer(
	tb testing.TB, env *testEnv, addresses []string, connections int,
	call func(ctx context.Context, from *client, overREST bool, number int64) codes.Code,
) *hammer {
	tb.Helper()
	flood := &hammer{hashed: make([]atomic.Int64, len(addresses))}
	ctx, cancel := context.WithCancel(tb.Context())
	var group sync.WaitGroup
	var number atomic.Int64
	for i, address := range addresses {
		for connection := range connections {
			from := newClient(tb, env, address)
			group.Go(func() {
				for ctx.Err() == nil {
					if call(ctx, from, connection%2 == 0, number.Add(1)) == codes.ResourceExhausted {
						flood.refused.Add(1)
					} else if ctx.Err() == nil {
						flood.hashed[i].Add(1)
					}
				}
			})
		}
	}
	flood.stop = sync.OnceFunc(func() { cancel(); group.Wait() })
	tb.Cleanup(flood.stop)
	testkit.Eventually(tb, func() error {
		if flood.refused.Load() == 0 {
			return errors.New("nothing is refused")
		}
		return nil
	})
	return flood
}

// logInFlood are log-ins to accounts that do not exist.
func logInFlood(ctx context.Context, from *client, overREST bool, number int64) codes.Code {
	code, _ := from.logIn(ctx, overREST, &gatehousev1.CreateSessionRequest{
		Email: fmt.Sprintf("nobody%d@example.com", number), Password: floodPassword,
	})
	return code
}

func signUpFlood(ctx context.Context, from *client, overREST bool, number int64) codes.Code {
	code, _ := from.signUp(ctx, overREST, fmt.Sprintf("flood%d@example.com", number))
	return code
}

// TestFairness floods the service from some addresses, and asserts that others are served.
func TestFairness(t *testing.T) {
	env := newTestEnv(t, 1)
	const connections, bystanders, rounds = 200, 4, 4
	logIn := func(from *client, overREST bool, _ int) error {
		_, err := from.logIn(t.Context(), overREST, proto.CloneOf(env.accounts[0].logIn))
		return err
	}
	signUp := func(from *client, overREST bool, number int) error {
		_, err := from.signUp(t.Context(), overREST, fmt.Sprintf("%s%d@example.com", t.Name(), number))
		return err
	}
	t.Run("log-ins_of_one_address", func(t *testing.T) {
		flood := newHammer(t, env, []string{"127.0.0.1"}, connections, logInFlood)
		serveAll(t, env, slices.Repeat([]string{"127.0.0.2"}, bystanders), rounds, logIn)
		flood.stop()
	})
	t.Run("sign-ups_of_one_address", func(t *testing.T) {
		flood := newHammer(t, env, []string{"127.0.0.1"}, connections, signUpFlood)
		serveAll(t, env, slices.Repeat([]string{"127.0.0.2"}, bystanders), rounds, signUp)
		serveAll(t, env, slices.Repeat([]string{"127.0.0.3"}, bystanders), rounds, logIn)
		flood.stop()
	})
	t.Run("log-ins_of_a_hundred_addresses", func(t *testing.T) {
		flood := newHammer(t, env, addresses("127.0.1", 100), 4, logInFlood)
		testkit.Eventually(t, flood.allServed)
		// Each client gets a hundredth of what can be hashed: one call of a client that did not wait comes first.
		serveAll(t, env, addresses("127.0.2", 8), 1, logIn)
		flood.stop()
	})
}

// addresses returns n addresses of a network of which the first three bytes are given.
func addresses(network string, n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("%s.%d", network, 1+i)
	}
	return list
}

// allServed reports an error while there is an address of which nothing was served.
func (f *hammer) allServed() error {
	for i := range f.hashed {
		if f.hashed[i].Load() == 0 {
			return fmt.Errorf("address %d is not served", i)
		}
	}
	return nil
}

// serveAll calls from all addresses at once, so many times in a row over alternating transports, and fails the test if
// a call fails.
func serveAll(
	t *testing.T, env *testEnv, addresses []string, rounds int, call func(from *client, overREST bool, number int) error,
) {
	t.Helper()
	var group sync.WaitGroup
	for i, address := range addresses {
		from := newClient(t, env, address)
		group.Go(func() {
			for round := range rounds {
				if err := call(from, (i+round)%2 == 0, rounds*i+round); err != nil {
					t.Errorf("a bystander at %s was not served: %v", address, err)
				}
			}
		})
	}
	group.Wait()
}

package load

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// testEnv is a running Gatehouse, with accounts.
type testEnv struct {
	rest, native string // addresses of the gateway
	gateway      *cluster.Service
	accounts     []account
}

// account is a user with a session.
type account struct {
	logIn *gatehousev1.CreateSessionRequest
	token string
}

// newTestEnv runs three services, on a MariaDB and a Redis of their own, until the test ends, and seeds so many
// accounts.
func newTestEnv(tb testing.TB, accounts int) *testEnv {
	tb.Helper()
	started := cluster.Start(tb, cluster.NewPrivateInfra(tb, binary), cluster.Config{
		Program: binary, GatewayArgs: []string{"--reflection", "on"},
	})
	return seed(tb, started.Gateways[0], accounts)
}

// seed makes accounts, and logs each in.
func seed(tb testing.TB, gateway *cluster.Service, accounts int) *testEnv {
	tb.Helper()
	env := &testEnv{rest: strings.TrimPrefix(gateway.REST, "http://"), native: gateway.Address, gateway: gateway}
	conn := gateway.Dial(tb)
	users, sessions := gatehousev1.NewUserServiceClient(conn), gatehousev1.NewSessionServiceClient(conn)
	for i := range accounts {
		logIn := &gatehousev1.CreateSessionRequest{Email: fmt.Sprintf("user%d@example.com", i), Password: "correct horse"}
		_, err := users.CreateUser(tb.Context(),
			&gatehousev1.CreateUserRequest{Email: logIn.GetEmail(), FullName: "Ada Lovelace", Password: logIn.GetPassword()})
		if err != nil {
			tb.Fatal(err)
		}
		session, err := sessions.CreateSession(tb.Context(), logIn)
		if err != nil {
			tb.Fatal(err)
		}
		env.accounts = append(env.accounts, account{logIn: logIn, token: session.GetAccessToken()})
	}
	return env
}

// dial makes a connection of its own to the gateway.
func (env *testEnv) dial(tb testing.TB) *grpc.ClientConn {
	tb.Helper()
	return env.gateway.Dial(tb)
}

// as is the context of a call by the account.
func (a account) as(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+a.token)
}

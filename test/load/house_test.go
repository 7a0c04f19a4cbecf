package load

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

// house is a Gatehouse of three processes, with a MariaDB and a Redis.
type house struct {
	rest, native string // addresses of the gateway
	gateway      *testkit.Process
	accounts     []account
}

// account is a user with a session.
type account struct {
	logIn *gatehousev1.CreateSessionRequest
	token string
}

// newHouse runs a house with so many accounts until the test ends.
func newHouse(tb testing.TB, accounts int, storeArgs ...string) *house {
	tb.Helper()
	redis, mariadb := testkit.StartRedis(tb), testkit.StartMariaDB(tb)
	if err := mariadb.CreateDatabase("gatehouse"); err != nil {
		tb.Fatal(err)
	}
	secret := func() string { return base64.StdEncoding.EncodeToString([]byte(rand.Text() + rand.Text())[:32]) }
	database := "GATEHOUSE_DATABASE_URL=" + mariadb.URL("gatehouse")
	serviceToken := "GATEHOUSE_SERVICE_TOKEN=" + rand.Text() + rand.Text()
	migrate := process(tb, "migrate", []string{database})
	if code, err := migrate.Wait(time.Minute); err != nil || code != 0 {
		tb.Fatalf("migrate ended with %d, %v\n%s", code, err, migrate.Tail())
	}
	store, cache := freeAddress(tb), freeAddress(tb)
	h := &house{rest: freeAddress(tb), native: freeAddress(tb)}
	process(tb, "store", []string{database, serviceToken, "GATEHOUSE_MASTER_KEY=" + secret()},
		append([]string{"--listen", store}, storeArgs...)...)
	process(tb, "cache", []string{"GATEHOUSE_REDIS_URL=" + redis.URL(), serviceToken, "GATEHOUSE_CACHE_KEY=" + secret()},
		"--listen", cache, "--store-address", store)
	h.gateway = process(tb, "gateway", []string{serviceToken, "GATEHOUSE_REFLECTION=on"},
		"--http", h.rest, "--grpc", h.native, "--cache-address", cache, "--store-address", store)
	h.awaitReady(tb)
	h.settle(tb, accounts)
	return h
}

// process runs a command of gatehouse until the test ends.
func process(tb testing.TB, command string, env []string, args ...string) *testkit.Process {
	tb.Helper()
	started := &testkit.Process{
		Path: binary, Args: append([]string{command}, args...), Env: env, Log: filepath.Join(tb.TempDir(), command),
	}
	if err := started.Start(func() error { return nil }); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		started.Kill()
		if _, measured := tb.(*testing.B); tb.Failed() && !measured { // What is slow is not in a log.
			tb.Logf("%s:\n%s", command, started.Tail())
		}
	})
	return started
}

func (h *house) awaitReady(tb testing.TB) {
	tb.Helper()
	testkit.Eventually(tb, func() error {
		response, err := http.Get("http://" + h.rest + "/readyz")
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return errors.New(response.Status)
		}
		return nil
	})
}

// settle makes accounts, and logs each in.
func (h *house) settle(tb testing.TB, accounts int) {
	tb.Helper()
	conn := h.dial(tb)
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
		h.accounts = append(h.accounts, account{logIn: logIn, token: session.GetAccessToken()})
	}
}

// dial makes a connection of its own to the gateway.
func (h *house) dial(tb testing.TB) *grpc.ClientConn {
	tb.Helper()
	conn, err := grpc.NewClient(h.native, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

// as is the context of a call by the account.
func (a account) as(ctx context.Context) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+a.token)
}

func freeAddress(tb testing.TB) string {
	tb.Helper()
	port, err := testkit.FreePort()
	if err != nil {
		tb.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

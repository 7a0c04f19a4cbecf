package e2e

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
)

func Example() {
	address, stop := exampleServer()
	defer stop()

	// The document begins here.
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()

	session, err := gatehousev1.NewSessionServiceClient(conn).CreateSession(ctx, &gatehousev1.CreateSessionRequest{
		Email: "ada@example.com", Password: "correct horse battery staple",
	})
	if err != nil {
		log.Fatal(err) // status.Convert(err).Details() tells the reason
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+session.GetAccessToken())
	profile, err := gatehousev1.NewUserServiceClient(conn).ReadUser(ctx, &gatehousev1.ReadUserRequest{Id: "me"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("Hello,", profile.GetUser().GetFullName())
	// Output: Hello, Ada Lovelace
}

func TestGettingStartedExample(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(source), "\t// The document begins here.\n")
	body, _, _ = strings.Cut(body, "\t// Output:")
	body = strings.ReplaceAll("\n"+body, "\n\t", "\n")
	body = strings.Replace(body, "grpc.NewClient(address", `grpc.NewClient("localhost:9090"`, 1)
	document, err := os.ReadFile("../../docs/getting-started.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(document), "```go"+body+"```") {
		t.Errorf("docs/getting-started.md does not show:\n%s", body)
	}
}

// exampleServer runs a Gatehouse in which Ada has an account.
func exampleServer() (address string, stop func()) {
	data, err := os.MkdirTemp("", "gatehouse")
	if err != nil {
		log.Fatal(err)
	}
	port, err := testkit.FreePort()
	if err != nil {
		log.Fatal(err)
	}
	address = fmt.Sprintf("127.0.0.1:%d", port)
	process := &testkit.Process{
		Path: binary, Args: []string{"up", "--data", data, "--http", "127.0.0.1:0", "--grpc", address},
		Log: filepath.Join(data, "log"),
	}
	if err := process.Start(func() error { return signUpAda(address) }); err != nil {
		log.Fatal(err)
	}
	return address, func() {
		process.Kill()
		_ = os.RemoveAll(data) // It is in the system's temporary folder.
	}
}

func signUpAda(address string) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err = gatehousev1.NewUserServiceClient(conn).CreateUser(ctx, &gatehousev1.CreateUserRequest{
		Email: "ada@example.com", FullName: "Ada Lovelace", Password: "correct horse battery staple",
	})
	return err
}

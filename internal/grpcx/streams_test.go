package grpcx_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"

	internalv1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/internalv1"
	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

const serviceToken = "a token that is long enough for two services"

var (
	asGateway = authn.ServiceCredential{Role: authn.PeerGateway, Token: serviceToken}
	asCache   = authn.ServiceCredential{Role: authn.PeerCache, Token: serviceToken}
)

// changes responds once, and then as the test sets it.
type changes struct {
	internalv1.UnimplementedChangeServiceServer

	end func()
}

func (c changes) WatchChanges(
	req *internalv1.WatchChangesRequest, stream grpc.ServerStreamingServer[internalv1.WatchChangesResponse],
) error {
	err := stream.Send(&internalv1.WatchChangesResponse{
		Epoch: callctx.RequestID(stream.Context()), Cursor: req.GetCursor(),
	})
	c.end()
	return err
}

// newChanges makes a connection with a credential to a server that admits services by tokens.
func newChanges(
	t *testing.T, tokens []string, credential authn.ServiceCredential, end func(),
) internalv1.ChangeServiceClient {
	t.Helper()
	policies, err := authn.LoadPolicies(internalv1.ChangeService_ServiceDesc.ServiceName)
	if err != nil {
		t.Fatal(err)
	}
	none := authn.NewKeySet(func(context.Context) (*gatehousev1.ListKeysResponse, error) {
		return &gatehousev1.ListKeysResponse{}, nil
	}, time.Now)
	authenticator := authn.NewAuthenticator(policies, authn.NewVerifier(none, issuer, audience, time.Now), nil)
	authenticator.AdmitServices(tokens...)
	server, err := grpcx.NewServer(slog.New(slog.DiscardHandler), authenticator, func(context.Context) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	internalv1.RegisterChangeServiceServer(server, changes{end: end})
	listener := bufconn.Listen(256 << 10)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, listener) }()
	conn, err := grpcx.Dial("passthrough:///in-process", credential, grpcx.InProcess(listener))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return internalv1.NewChangeServiceClient(conn)
}

// watch returns the first answer of a stream, and how the stream ends.
func watch(
	t *testing.T, client internalv1.ChangeServiceClient, req *internalv1.WatchChangesRequest,
) (*internalv1.WatchChangesResponse, error) {
	t.Helper()
	ctx := callctx.WithRequestID(t.Context(), "01a20712-74ba-7400-a489-0bcac67e9916")
	stream, err := client.WatchChanges(ctx, req)
	if err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil {
		return nil, err
	}
	_, err = stream.Recv()
	return first, err
}

func TestStreams(t *testing.T) {
	nothing := func() {}
	const refused = "SERVICE_CREDENTIAL_INVALID"
	for _, test := range []struct {
		name       string
		tokens     []string
		credential authn.ServiceCredential
		reason     string
	}{
		{"are served to a cache", []string{serviceToken}, asCache, ""},
		{"are served to a cache with the second token", []string{strings.Repeat("o", 32), serviceToken}, asCache, ""},
		{"are refused to a gateway", []string{serviceToken}, asGateway, refused},
		{"are refused to an unknown role", []string{serviceToken}, authn.ServiceCredential{Role: "admin", Token: serviceToken}, refused},
		{"are refused without a credential", []string{serviceToken}, authn.ServiceCredential{}, refused},
		{
			"are refused to another token",
			[]string{serviceToken},
			authn.ServiceCredential{Role: authn.PeerCache, Token: serviceToken + "!"},
			refused,
		},
		{"are refused where no token is admitted", nil, asCache, refused},
		{"are refused where an empty token is admitted", []string{""}, asCache, refused},
	} {
		t.Run(test.name, func(t *testing.T) {
			first, err := watch(t, newChanges(t, test.tokens, test.credential, nothing), &internalv1.WatchChangesRequest{Cursor: 7})
			if test.reason == "" && first.GetCursor() != 7 {
				t.Errorf("answer is %v, %v", first, err)
			}
			if reason := apierr.ReasonName(apierr.ReasonOf(status.Convert(err))); test.reason != "" && reason != test.reason {
				t.Errorf("error is %v, want %s", err, test.reason)
			}
		})
	}
}

func TestStreamInterceptors(t *testing.T) {
	client := newChanges(t, []string{serviceToken}, asCache, func() { panic("in the handler") })
	first, err := watch(t, client, &internalv1.WatchChangesRequest{})
	if first.GetEpoch() != "01a20712-74ba-7400-a489-0bcac67e9916" {
		t.Errorf("the request id is %q", first.GetEpoch())
	}
	if st := status.Convert(err); st.Code() != codes.Internal || apierr.ReasonName(apierr.ReasonOf(st)) != "INTERNAL" {
		t.Errorf("a panic is %v", err)
	}
	_, err = watch(t, client, &internalv1.WatchChangesRequest{Cursor: -1})
	if reason := apierr.ReasonName(apierr.ReasonOf(status.Convert(err))); reason != "INVALID_FIELDS" {
		t.Errorf("a negative cursor is %v", err)
	}
}

package authn_test

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/gatehouse-auth/gatehouse/internal/authn"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

const (
	createUser    = "/gatehouse.v1.UserService/CreateUser"
	readUser      = "/gatehouse.v1.UserService/ReadUser"
	createSession = "/gatehouse.v1.SessionService/CreateSession"
	listKeys      = "/gatehouse.v1.KeyService/ListKeys"
)

var services = []string{
	"gatehouse.v1.UserService", "gatehouse.v1.SessionService", "gatehouse.v1.KeyService", "gatehouse.v1.AdminService",
}

func TestLoadPolicies(t *testing.T) {
	policies, err := authn.LoadPolicies(services...)
	if err != nil {
		t.Fatal(err)
	}
	want := authn.Policies{
		createUser:    {Policy: gatehousev1.Policy_POLICY_PUBLIC},
		readUser:      {Policy: gatehousev1.Policy_POLICY_AUTHENTICATED},
		createSession: {Policy: gatehousev1.Policy_POLICY_PUBLIC},
		listKeys:      {Policy: gatehousev1.Policy_POLICY_PUBLIC},

		listUsers: {Policy: gatehousev1.Policy_POLICY_ADMIN},

		"/gatehouse.v1.UserService/UpdateUser": {Policy: gatehousev1.Policy_POLICY_AUTHENTICATED},
		"/gatehouse.v1.UserService/DeleteUser": {Policy: gatehousev1.Policy_POLICY_AUTHENTICATED, RecentLogin: true},

		"/gatehouse.v1.AdminService/DisableUser":        {Policy: gatehousev1.Policy_POLICY_ADMIN, RecentLogin: true},
		"/gatehouse.v1.AdminService/EnableUser":         {Policy: gatehousev1.Policy_POLICY_ADMIN, RecentLogin: true},
		"/gatehouse.v1.AdminService/SetRoles":           {Policy: gatehousev1.Policy_POLICY_ADMIN, RecentLogin: true},
		"/gatehouse.v1.AdminService/ResetUserPassword":  {Policy: gatehousev1.Policy_POLICY_ADMIN, RecentLogin: true},
		"/gatehouse.v1.AdminService/DeleteUserSessions": {Policy: gatehousev1.Policy_POLICY_ADMIN, RecentLogin: true},
		"/gatehouse.v1.AdminService/RotateKey":          {Policy: gatehousev1.Policy_POLICY_ADMIN, RecentLogin: true},
		"/gatehouse.v1.AdminService/ListAuditEvents":    {Policy: gatehousev1.Policy_POLICY_ADMIN},

		"/gatehouse.v1.SessionService/RefreshSession":    {Policy: gatehousev1.Policy_POLICY_PUBLIC},
		"/gatehouse.v1.SessionService/ReadSession":       {Policy: gatehousev1.Policy_POLICY_AUTHENTICATED},
		"/gatehouse.v1.SessionService/ListSessions":      {Policy: gatehousev1.Policy_POLICY_AUTHENTICATED},
		"/gatehouse.v1.SessionService/DeleteSession":     {Policy: gatehousev1.Policy_POLICY_AUTHENTICATED},
		"/gatehouse.v1.SessionService/DeleteAllSessions": {Policy: gatehousev1.Policy_POLICY_AUTHENTICATED},
		"/gatehouse.v1.SessionService/ChangePassword":    {Policy: gatehousev1.Policy_POLICY_AUTHENTICATED},
		"/gatehouse.v1.KeyService/ReadConfiguration":     {Policy: gatehousev1.Policy_POLICY_PUBLIC},
	}
	if !reflect.DeepEqual(policies, want) {
		t.Errorf("policies are %v, want %v", policies, want)
	}
}

// registerUnguarded adds a service to the registry: of its three methods one has no options at all, one has no policy,
// and one has a policy.
var registerUnguarded = func() func(*testing.T) {
	done := false
	return func(t *testing.T) {
		t.Helper()
		if done {
			return
		}
		guarded := &descriptorpb.MethodOptions{}
		proto.SetExtension(guarded, gatehousev1.E_Policy, gatehousev1.Policy_POLICY_PUBLIC)
		method := func(name string, options *descriptorpb.MethodOptions) *descriptorpb.MethodDescriptorProto {
			return &descriptorpb.MethodDescriptorProto{
				Name: new(name), Options: options,
				InputType: new(".authntest.Nothing"), OutputType: new(".authntest.Nothing"),
			}
		}
		file, err := protodesc.NewFile(&descriptorpb.FileDescriptorProto{
			Name: new("authntest.proto"), Package: new("authntest"), Syntax: new("proto3"),
			MessageType: []*descriptorpb.DescriptorProto{{Name: new("Nothing")}},
			Service: []*descriptorpb.ServiceDescriptorProto{{
				Name: new("Unguarded"),
				Method: []*descriptorpb.MethodDescriptorProto{
					method("Bare", nil),
					method("Idempotent", &descriptorpb.MethodOptions{
						IdempotencyLevel: descriptorpb.MethodOptions_IDEMPOTENT.Enum(),
					}),
					method("Guarded", guarded),
				},
			}},
		}, protoregistry.GlobalFiles)
		if err != nil {
			t.Fatal(err)
		}
		if err := protoregistry.GlobalFiles.RegisterFile(file); err != nil {
			t.Fatal(err)
		}
		done = true
	}
}()

func TestLoadPoliciesMissing(t *testing.T) {
	registerUnguarded(t)
	policies, err := authn.LoadPolicies(append(slices.Clone(services), "authntest.Unguarded")...)
	if err == nil {
		t.Fatalf("no error; policies are %v", policies)
	}
	for _, culprit := range []string{"authntest.Unguarded.Bare", "authntest.Unguarded.Idempotent"} {
		if !strings.Contains(err.Error(), culprit) {
			t.Errorf("error does not name %s: %v", culprit, err)
		}
	}
	if strings.Contains(err.Error(), "authntest.Unguarded.Guarded") {
		t.Errorf("error names a method that has a policy: %v", err)
	}
}

func TestLoadPoliciesUnknownService(t *testing.T) {
	_, err := authn.LoadPolicies("gatehouse.v1.NoService", "gatehouse.v1.User", "gatehouse.v1.UserService")
	if err == nil {
		t.Fatal("no error")
	}
	for _, culprit := range []string{"gatehouse.v1.NoService", "gatehouse.v1.User is not a service"} {
		if !strings.Contains(err.Error(), culprit) {
			t.Errorf("error does not name %q: %v", culprit, err)
		}
	}
}

func newAuthenticator(t *testing.T, h *testEnv) *authn.Authenticator {
	t.Helper()
	policies, err := authn.LoadPolicies(services...)
	if err != nil {
		t.Fatal(err)
	}
	return authn.NewAuthenticator(policies, h.Verifier, nil)
}

// incoming returns the context of a call that came with these authorization headers.
func incoming(t *testing.T, authorization ...string) context.Context {
	t.Helper()
	return metadata.NewIncomingContext(t.Context(), metadata.MD{authn.AuthorizationKey: authorization})
}

func TestAdmitUnknownMethod(t *testing.T) {
	h := newTestEnv(t)
	authenticator := newAuthenticator(t, h)
	for _, method := range []string{
		"", "/", "/gatehouse.v1.UserService/DeleteUsers", "/gatehouse.v1.UserService/readUser",
		"gatehouse.v1.UserService/ReadUser", readUser + "/", "//gatehouse.v1.UserService/ReadUser",
		"/grpc.health.v1.Health/Check",
	} {
		_, err := authenticator.Admit(incoming(t, "Bearer "+h.edDSA.token(t, h.claims())), method)
		wantReason(t, err, noRoute)
	}
	if got := h.publisher.count(); got != 0 {
		t.Error("the keys were fetched for a method that does not exist")
	}
}

func TestAdmitUnknownPolicy(t *testing.T) {
	h := newTestEnv(t)
	authenticator := authn.NewAuthenticator(authn.Policies{readUser: {Policy: 99}}, h.Verifier, nil)
	_, err := authenticator.Admit(incoming(t, "Bearer "+h.edDSA.token(t, h.claims())), readUser)
	wantReason(t, err, noRoute)
}

func TestBearer(t *testing.T) {
	h := newTestEnv(t)
	authenticator := newAuthenticator(t, h)
	good := h.edDSA.token(t, h.claims())
	for _, test := range []struct {
		name    string
		headers []string
		want    gatehousev1.ErrorReason
	}{
		{"good", []string{"Bearer " + good}, admitted},
		{"lower case", []string{"bearer " + good}, admitted},
		{"upper case", []string{"BEARER " + good}, admitted},
		{"no header", nil, missing},
		{"empty header", []string{""}, missing},
		{"another scheme", []string{"Basic YTpi"}, missing},
		{"the token alone", []string{good}, missing},
		{"scheme runs into the token", []string{"Bearer" + good}, missing},
		{"a tab", []string{"Bearer\t" + good}, missing},
		{"a space before", []string{" Bearer " + good}, missing},
		{"no token", []string{"Bearer"}, invalid},
		{"a space for a token", []string{"Bearer "}, invalid},
		{"two spaces", []string{"Bearer  " + good}, invalid},
		{"something after it", []string{"Bearer " + good + " x"}, invalid},
		{"a comma and another", []string{"Bearer " + good + ", Bearer " + good}, invalid},
		{"two headers", []string{"Bearer " + good, "Bearer " + good}, invalid},
		{"no token and a good one", []string{"Bearer ", "Bearer " + good}, invalid},
		{"Basic and a good one", []string{"Basic YTpi", "Bearer " + good}, missing},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx, err := authenticator.Admit(incoming(t, test.headers...), readUser)
			caller, ok := authn.CallerFrom(ctx)
			if test.want == admitted {
				if err != nil || !ok || caller.UserID != userID {
					t.Errorf("Admit = %+v, %v, %v", caller, ok, err)
				}
				return
			}
			wantReason(t, err, test.want)
			if ok {
				t.Errorf("a refused call has the caller %+v", caller)
			}
		})
	}
}

func TestAdmitPublicIgnoresToken(t *testing.T) {
	h := newTestEnv(t)
	authenticator := newAuthenticator(t, h)
	for _, headers := range [][]string{
		nil, {"Bearer nonsense"}, {"Basic YTpi"}, {"a", "b"}, {"Bearer " + h.edDSA.token(t, h.claims())},
	} {
		ctx, err := authenticator.Admit(incoming(t, headers...), createUser)
		if err != nil {
			t.Errorf("%q: %v", headers, err)
		}
		if caller, ok := authn.CallerFrom(ctx); ok {
			t.Errorf("%q: a public method has the caller %+v", headers, caller)
		}
	}
	if got := h.publisher.count(); got != 0 {
		t.Errorf("the keys were fetched %d times", got)
	}
}

func TestInterceptorRejects(t *testing.T) {
	h := newTestEnv(t)
	intercept := newAuthenticator(t, h).Interceptor("/grpc.health.v1.Health/Check")
	for _, test := range []struct {
		method  string
		token   string
		reaches bool
	}{
		{readUser, "", false},
		{readUser, "Bearer nonsense", false},
		{readUser, "Bearer " + h.edDSA.token(t, h.claims()), true},
		{createUser, "", true},
		{"/grpc.health.v1.Health/Check", "", true},
		{"/grpc.health.v1.Health/List", "", false},
		{"/grpc.health.v1.HealthOther/Check", "", false},
		{"/grpc.health.v1.Other/Check", "", false},
	} {
		reached := false
		ctx := authn.WithPeer(incoming(t, test.token), authn.PeerGateway)
		_, err := intercept(ctx, nil, &grpc.UnaryServerInfo{FullMethod: test.method},
			func(context.Context, any) (any, error) {
				reached = true
				return struct{}{}, nil
			})
		if reached != test.reaches || (err == nil) != test.reaches {
			t.Errorf("%s with %.10q: reached = %v, error = %v; want reached = %v",
				test.method, test.token, reached, err, test.reaches)
		}
	}
}

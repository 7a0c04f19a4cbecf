package e2e

import (
	stdcmp "cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// corpusCase is a call and what it must give over every transport, in every setup.
type corpusCase struct {
	name    string
	method  string                               // "UserService/ReadUser"
	caller  string                               // key of fixtures.tokens
	by      func(*testing.T, *fixtures) []string // the tokens to call with, made for each call; instead of caller
	request func(*fixtures) proto.Message

	code   codes.Code
	http   int
	reason string
	fields []string // "field REASON" of each violation, sorted
	check  func(*testing.T, *fixtures, proto.Message)
}

// fixtures are the accounts before the corpus is run, and the tokens that cases call with.
type fixtures struct {
	ada    *gatehousev1.User
	bob    *gatehousev1.User
	tokens map[string][]string // values of the authorization header
	tag    string              // makes addresses of this run unique

	t   *testing.T // of the case that runs
	env *testEnv

	root  *gatehousev1.CreateSessionResponse // of an administrator; tokens["root"]
	stale []string                           // tokens of a session of root that was opened 11 minutes ago; see staleRoot

	victim  *gatehousev1.User                  // whom the request of the present case is about
	victims *gatehousev1.CreateSessionResponse // a session of the victim

	own, spare, ended, stolen *gatehousev1.CreateSessionResponse // Ada's: of tokens["ada"]; unused; logged out; reused
	bobs                      *gatehousev1.CreateSessionResponse
	page, bobsPage            string // tokens of the second page of Ada's sessions, and of Bob's
}

const adasPassword = "a password that stands nowhere else"

// address makes an e-mail address that no other case has.
func (r *fixtures) address(local string) string {
	return fmt.Sprintf("%s.%s@example.com", local, strings.ReplaceAll(uuid.NewString(), "-", ""))
}

func seed(t *testing.T, env *testEnv) *fixtures {
	t.Helper()
	r := &fixtures{tag: uuid.NewString()[:8]}
	r.ada = signUp(t, env, "ada."+r.tag+"@example.com")
	r.bob = signUp(t, env, "jos\u00e9."+r.tag+"@b\u00fccher.example")
	r.t, r.env = t, env
	r.own = openSession(t, env, r.ada.GetEmail())
	r.tokens = forgeries(t, env, r.own.GetAccessToken())
	r.tokens["nobody"] = nil
	r.tokens["ada"] = callsAs(r.own)
	r.root = openSession(t, env, makeAdmin(t, env, "root."+r.tag+"@example.com"))
	r.tokens["root"] = callsAs(r.root)
	r.openSessions(t)
	return r
}

// openSessions opens sessions of every kind.
func (r *fixtures) openSessions(t *testing.T) {
	t.Helper()
	r.spare, r.ended, r.stolen = openSession(t, r.env, r.ada.GetEmail()), openSession(t, r.env, r.ada.GetEmail()),
		openSession(t, r.env, r.ada.GetEmail())
	sessions := gatehousev1.NewSessionServiceClient(r.env.conn)
	if _, err := sessions.DeleteSession(withTokens(callContext(t), callsAs(r.ended)),
		&gatehousev1.DeleteSessionRequest{Id: "current"}); err != nil {
		t.Fatal(err)
	}
	void, err := voidToken(callContext(t), sessions, r.stolen.GetRefreshToken())
	if err != nil {
		t.Fatal(err)
	}
	request := &gatehousev1.RefreshSessionRequest{RefreshToken: void}
	if _, err := sessions.RefreshSession(callContext(t), request); err == nil {
		t.Fatal("a refresh token was reused")
	}
	r.tokens["ended"], r.tokens["stolen"] = callsAs(r.ended), callsAs(r.stolen)

	r.bobs = openSession(t, r.env, r.bob.GetEmail())
	openSession(t, r.env, r.bob.GetEmail())
	for session, token := range map[*gatehousev1.CreateSessionResponse]*string{r.own: &r.page, r.bobs: &r.bobsPage} {
		page, err := sessions.ListSessions(withTokens(callContext(t), callsAs(session)),
			&gatehousev1.ListSessionsRequest{PageSize: 1})
		if err != nil || page.GetNextPageToken() == "" {
			t.Fatalf("the first page is %v, %v", page, err)
		}
		*token = page.GetNextPageToken()
	}
}

func withTokens(ctx context.Context, tokens []string) context.Context {
	for _, token := range tokens {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", token)
	}
	return ctx
}

func signUp(t *testing.T, env *testEnv, email string) *gatehousev1.User {
	t.Helper()
	response, err := gatehousev1.NewUserServiceClient(env.conn).CreateUser(callContext(t),
		&gatehousev1.CreateUserRequest{Email: email, FullName: "Ada Lovelace", Password: adasPassword})
	if err != nil {
		t.Fatalf("sign up %s: %v", email, err)
	}
	return response.GetUser()
}

func logIn(t *testing.T, env *testEnv, email string) string {
	t.Helper()
	return openSession(t, env, email).GetAccessToken()
}

func openSession(t *testing.T, env *testEnv, email string) *gatehousev1.CreateSessionResponse {
	t.Helper()
	response, err := gatehousev1.NewSessionServiceClient(env.conn).CreateSession(callContext(t),
		&gatehousev1.CreateSessionRequest{Email: email, Password: adasPassword})
	if err != nil {
		t.Fatalf("log in %s: %v", email, err)
	}
	return response
}

func refresh(t *testing.T, env *testEnv, token string) *gatehousev1.RefreshSessionResponse {
	t.Helper()
	response, err := gatehousev1.NewSessionServiceClient(env.conn).RefreshSession(callContext(t),
		&gatehousev1.RefreshSessionRequest{RefreshToken: token})
	if err != nil {
		t.Fatalf("refresh: %v", err)
	}
	return response
}

// voidToken presents a refresh token until it has two successors, and trades the one. The other is void, and ends the
// session when it is presented.
func voidToken(ctx context.Context, sessions gatehousev1.SessionServiceClient, token string) (void string, err error) {
	first := ""
	for range 2 * refreshRepeats {
		response, err := sessions.RefreshSession(ctx, &gatehousev1.RefreshSessionRequest{RefreshToken: token})
		switch {
		case err != nil:
			return "", err
		case first == "":
			first = response.GetRefreshToken()
		case response.GetRefreshToken() != first:
			_, err := sessions.RefreshSession(ctx, &gatehousev1.RefreshSessionRequest{RefreshToken: response.GetRefreshToken()})
			return first, err
		}
	}
	return "", errors.New("a refresh token has one successor, however often it is presented")
}

// refreshRepeats is how often a successor is given out again, at least.
const refreshRepeats = 16

func TestCorpus(t *testing.T) {
	t.Parallel()
	for name, start := range setups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env := start(t, cheapHashes...)
			r := seed(t, env)
			for _, test := range corpus {
				t.Run(test.name, func(t *testing.T) { test.run(t, env, r) })
			}
			t.Run("nothing_secret_is_kept_or_told", func(t *testing.T) { env.holdsNoSecret(t, r) })
		})
	}
}

// run makes the call over both transports, and compares the errors with what is wanted and with each other.
func (c corpusCase) run(t *testing.T, env *testEnv, r *fixtures) {
	r.t = t
	answers := map[string]*answer{}
	for name, call := range transports {
		tokens, known := r.tokens[stdcmp.Or(c.caller, "nobody")]
		if !known {
			t.Fatalf("no caller %q", c.caller)
		}
		if c.by != nil {
			tokens = c.by(t, r)
		}
		got, err := call(callContext(t), env, c.method, c.request(r), tokens)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		answers[name] = got
		c.compare(t, name, got)
		if got.message != nil && c.check != nil {
			c.check(t, r, got.message)
		}
	}
	if got := answers["REST"].http; got != c.http {
		t.Errorf("HTTP status is %d, want %d", got, c.http)
	}
	if diff := cmp.Diff(answers["gRPC"].status, answers["REST"].status, protocmp.Transform()); diff != "" {
		t.Errorf("gRPC (-) and REST (+) answer differently:\n%s", diff)
	}
}

func (c corpusCase) compare(t *testing.T, transport string, got *answer) {
	t.Helper()
	if code := codes.Code(got.status.GetCode()); code != c.code {
		t.Errorf("%s: code is %v, want %v: %v", transport, code, c.code, got.status)
	}
	reason, fields := details(t, got)
	if reason != c.reason {
		t.Errorf("%s: reason is %q, want %q", transport, reason, c.reason)
	}
	if diff := cmp.Diff(c.fields, fields); diff != "" {
		t.Errorf("%s: field violations (-want +got):\n%s", transport, diff)
	}
}

// details reads the reason and the field violations of an answer.
func details(t *testing.T, got *answer) (reason string, fields []string) {
	t.Helper()
	for _, detail := range got.status.GetDetails() {
		message, err := detail.UnmarshalNew()
		if err != nil {
			t.Fatal(err)
		}
		switch detail := message.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() != "gatehouse" {
				t.Errorf("domain is %q", detail.GetDomain())
			}
			reason = detail.GetReason()
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				fields = append(fields, strings.TrimSpace(violation.GetField()+" "+violation.GetReason()))
			}
		}
	}
	slices.Sort(fields)
	return reason, fields
}

// TestCorpusCoverage checks that the corpus has cases of each method, some that succeed and some that fail.
func TestCorpusCoverage(t *testing.T) {
	t.Parallel()
	if len(corpus) < 40 {
		t.Errorf("the corpus has %d cases, not 40", len(corpus))
	}
	well, badly := map[string]bool{}, map[string]bool{}
	for _, test := range corpus {
		if test.code == codes.OK {
			well[test.method] = true
		} else {
			badly[test.method] = true
		}
	}
	for _, service := range []string{"UserService", "SessionService", "KeyService", "AdminService"} {
		for _, method := range methodsOf(t, service) {
			if !well[method] {
				t.Errorf("%s has no case that succeeds", method)
			}
			if !badly[method] && service != "KeyService" { // It takes nothing and is open to all.
				t.Errorf("%s has no case that fails", method)
			}
		}
	}
}

// ok is what a case wants of a call that succeeds.
func ok(c corpusCase) corpusCase {
	c.code, c.http = codes.OK, http.StatusOK
	return c
}

// invalid is what a case wants of a request that breaks rules of the contract.
func invalid(c corpusCase, fields ...string) corpusCase {
	c.code, c.http, c.reason, c.fields = codes.InvalidArgument, http.StatusBadRequest, "INVALID_FIELDS", fields
	return c
}

// unauthenticated is what a case wants of a caller that is not accepted.
func unauthenticated(c corpusCase, reason string) corpusCase {
	c.code, c.http, c.reason = codes.Unauthenticated, http.StatusUnauthorized, reason
	return c
}

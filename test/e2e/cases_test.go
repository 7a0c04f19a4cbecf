package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// corpus is every call whose outcome is promised. A new method, rule or reason gets its cases here.
var corpus = slices.Concat(signUpCases, logInCases, readCases, tokenCases, keyCases, refreshCases, readSessionCases,
	listSessionsCases, logOutCases, changePasswordCases, updateCases, deleteCases, signUpOnceCases, listUsersCases,
	disableCases, roleCases, adminCases, recentLoginCases, auditCases, rotateCases)

// signsUp is a sign-up; a change makes it the case's own.
func signsUp(name string, change func(*fixtures, *gatehousev1.CreateUserRequest)) corpusCase {
	return corpusCase{name: "sign up: " + name, method: "UserService/CreateUser", request: func(r *fixtures) proto.Message {
		request := &gatehousev1.CreateUserRequest{
			Email: r.address("new"), FullName: "Grace Hopper", Password: "a good password of Grace",
		}
		change(r, request)
		return request
	}}
}

func withEmail(name string, email func(*fixtures) string) corpusCase {
	return signsUp(name, func(r *fixtures, request *gatehousev1.CreateUserRequest) { request.Email = email(r) })
}

func withName(name, fullName string) corpusCase {
	return signsUp(name, func(_ *fixtures, request *gatehousev1.CreateUserRequest) { request.FullName = fullName })
}

func withPassword(name, password string) corpusCase {
	return signsUp(name, func(_ *fixtures, request *gatehousev1.CreateUserRequest) { request.Password = password })
}

func taken(c corpusCase) corpusCase {
	c.code, c.http, c.reason = codes.AlreadyExists, http.StatusConflict, "EMAIL_TAKEN"
	return c
}

func fixed(value string) func(*fixtures) string { return func(*fixtures) string { return value } }

// localOf returns what no other address has before its @: so many bytes.
func localOf(r *fixtures, length int) string {
	return strings.Repeat("l", length-len(r.tag)-8) + r.tag + uuid.NewString()[:8]
}

func notAnAddress(name, email string) corpusCase {
	return invalid(withEmail(name, fixed(email)), "email EMAIL_ADDRESS")
}

var signUpCases = []corpusCase{
	ok(checked(signsUp("everything in order", func(*fixtures, *gatehousev1.CreateUserRequest) {}), newcomer)),
	ok(withEmail("address with a tag", func(r *fixtures) string { return r.address("a+b") })),
	ok(withEmail("address with white space around it", func(r *fixtures) string { return " \t" + r.address("spaced") + "\u00a0\n" })),
	ok(withEmail("address beyond ASCII", func(r *fixtures) string { return r.address("δοκιμή") })),
	ok(withEmail("address that differs from another's in an accent", func(r *fixtures) string {
		return "jose." + uuid.NewString()[:8] + r.tag + "@example.com"
	})),
	ok(withEmail("address of 254 bytes", func(r *fixtures) string {
		domain := "@" + strings.Repeat(strings.Repeat("l", 62)+".", 3) + "com"
		return localOf(r, 254-len(domain)) + domain
	})),
	taken(withEmail("address that is taken", func(r *fixtures) string { return r.ada.GetEmail() })),
	taken(withEmail("address that is taken in another case", func(r *fixtures) string { return strings.ToUpper(r.ada.GetEmail()) })),
	taken(withEmail("address that is taken, with spaces", func(r *fixtures) string { return "  " + r.ada.GetEmail() + " " })),
	taken(withEmail("address that is taken in another normal form", func(r *fixtures) string {
		return strings.ReplaceAll(r.bob.GetEmail(), "\u00e9", "e\u0301")
	})),
	taken(withEmail("address that is taken with its domain in punycode", func(r *fixtures) string {
		return strings.ReplaceAll(r.bob.GetEmail(), "@b\u00fccher", "@XN--bcher-kva")
	})),
	ok(withEmail("address with a capital sharp s", func(r *fixtures) string {
		return localOf(r, 32) + "\u1e9e@STRA\u1e9eE.example"
	})),
	ok(withEmail("address of 64 bytes before the @", func(r *fixtures) string { return localOf(r, 64) + "@example.com" })),
	invalid(withEmail("address of 65 bytes before the @", func(r *fixtures) string {
		return localOf(r, 65) + "@example.com"
	}), "email EMAIL_LOCAL_PART"),
	invalid(withEmail("address with a label of 64 bytes", fixed("ada@"+strings.Repeat("l", 64)+".com")), "email EMAIL_DOMAIN"),
	invalid(withEmail("address at an IP address", fixed("ada@192.0.2.1")), "email EMAIL_DOMAIN"),
	invalid(withEmail("address with punycode of nothing", fixed("ada@xn--zzzzzz.example")), "email EMAIL_DOMAIN"),
	invalid(withEmail("address whose domain has two directions", fixed("ada@\u05d0a.example")), "email EMAIL_DOMAIN"),
	notAnAddress("address with a dot after the domain", "ada@example.com."),
	notAnAddress("address with an underscore in the domain", "ada@a_b.example"),
	notAnAddress("address at an IP literal", "ada@[192.0.2.1]"),
	notAnAddress("address with an empty label", "ada@example..com"),
	invalid(withEmail("no address", fixed("")), "email REQUIRED"),
	invalid(withEmail("address of 255 bytes", func(r *fixtures) string {
		address := r.address("long")
		return strings.Repeat("l", 255-len(address)) + address
	}), "email STRING_MAX_BYTES"),
	notAnAddress("address without @", "ada.example.com"),
	notAnAddress("address with two @", "ada@home@example.com"),
	notAnAddress("address without a name", "@example.com"),
	notAnAddress("address without a domain", "ada@"),
	notAnAddress("address with a space inside", "ada lovelace@example.com"),
	notAnAddress("address with two dots", "ada..lovelace@example.com"),
	notAnAddress("address whose domain begins with a hyphen", "ada@-example.com"),
	notAnAddress("address with a line break for a mail header", "ada@example.com\nBcc: eve@example.com"),
	notAnAddress("address with an invisible character", "ada\u200b@example.com"),
	notAnAddress("address with a NUL", "ada\x00@example.com"),
	notAnAddress("address with a filler that shows nothing", "ada\u3164@example.com"),
	notAnAddress("address with a variation selector", "ada\ufe0f@example.com"),
	notAnAddress("address that begins with a combining mark", "\u0301ada@example.com"),
	notAnAddress("address with a display name", "Ada <ada@example.com>"),
	ok(withName("name of 200 characters", strings.Repeat("é", 199)+"😀")),
	invalid(withName("no name", ""), "full_name REQUIRED"),
	invalid(withName("name of 201 characters", strings.Repeat("n", 201)), "full_name STRING_MAX_LEN"),
	invalid(withName("name of white space", " \u00a0 "), "full_name FULL_NAME_PRINTABLE"),
	invalid(withName("name that shows nothing", "\u3164\u2800"), "full_name FULL_NAME_PRINTABLE"),
	invalid(withName("name that turns the direction", "Ada\u202eecalevoL"), "full_name FULL_NAME_PRINTABLE"),
	invalid(withName("name with a control character", "Ada\x1b[31m"), "full_name FULL_NAME_PRINTABLE"),
	ok(checked(withName("name with white space, BOM and separators around it", "\ufeff \u2028\t\vGrace \u200d Hopper\u0085\u2029\u3000\ufeff\n"), named("Grace \u200d Hopper"))),
	ok(checked(withName("name with joiners", "امیر\u200cحسین 👩\u200d🚀"), named("امیر\u200cحسین 👩\u200d🚀"))),
	invalid(withName("name with a line separator", "Grace\u2028Hopper"), "full_name FULL_NAME_PRINTABLE"),
	invalid(withName("name with a line break", "Grace\nHopper"), "full_name FULL_NAME_PRINTABLE"),
	invalid(withName("name with a BOM inside", "Grace\ufeffHopper"), "full_name FULL_NAME_PRINTABLE"),
	invalid(withName("name with a space that has no width", "Grace\u200bHopper"), "full_name FULL_NAME_PRINTABLE"),
	invalid(withName("name with a soft hyphen", "Grace\u00adHopper"), "full_name FULL_NAME_PRINTABLE"),
	invalid(withName("name with a mark of direction", "Grace Hopper\u200f"), "full_name FULL_NAME_PRINTABLE"),
	ok(withPassword("password of 8 characters", "wq7#Tz_k")),
	ok(withPassword("password of 8 characters beyond ASCII", "пароль🔑Ж")),
	invalid(withPassword("password of 8 bytes that are 2 characters", "🔑🔑"), "password STRING_MIN_LEN"),
	invalid(withPassword("common password", "12345678"), "password PASSWORD_TOO_COMMON"),
	invalid(withPassword("common password in capitals, full width", "ＰＡＳＳＷＯＲＤ１"), "password PASSWORD_TOO_COMMON"),
	invalid(withPassword("repetition", "ÄöÄöÄöÄö"), "password PASSWORD_TOO_COMMON"),
	invalid(withPassword("sequence", "mnopqrstuvw"), "password PASSWORD_TOO_COMMON"),
	invalid(withPassword("name of the account", "GraceHopper1906"), "password PASSWORD_OF_ACCOUNT"),
	invalid(withPassword("name of the service", "gatehouse-1"), "password PASSWORD_OF_ACCOUNT"),
	ok(withPassword("password of 1,024 bytes", strings.Repeat("horse", 204)+"1024")),
	ok(withPassword("password beyond ASCII", "пароль 🔑 пароль")),
	invalid(withPassword("no password", ""), "password REQUIRED"),
	invalid(withPassword("password of 7 characters", "1234567"), "password STRING_MIN_LEN"),
	invalid(withPassword("password of 8 characters that become 4", strings.Repeat("e\u0301", 4)), "password STRING_MIN_LEN"),
	invalid(withPassword("password of 1,025 bytes", strings.Repeat("p", 1025)), "password STRING_MAX_BYTES"),
	invalid(signsUp("nothing at all", func(_ *fixtures, request *gatehousev1.CreateUserRequest) { request.Reset() }),
		"email REQUIRED", "full_name REQUIRED", "password REQUIRED"),
}

// logsIn is a log-in; a change makes it the case's own.
func logsIn(name string, change func(*fixtures, *gatehousev1.CreateSessionRequest)) corpusCase {
	return corpusCase{name: "log in: " + name, method: "SessionService/CreateSession", request: func(r *fixtures) proto.Message {
		request := &gatehousev1.CreateSessionRequest{Email: r.ada.GetEmail(), Password: adasPassword}
		change(r, request)
		return request
	}}
}

var logInCases = []corpusCase{
	ok(checked(logsIn("everything in order", func(*fixtures, *gatehousev1.CreateSessionRequest) {}), tokenAnswer)),
	ok(logsIn("address in another case", func(r *fixtures, request *gatehousev1.CreateSessionRequest) {
		request.Email = " " + strings.ToUpper(r.ada.GetEmail())
	})),
	ok(logsIn("address in another normal form", func(r *fixtures, request *gatehousev1.CreateSessionRequest) {
		request.Email = strings.ReplaceAll(r.bob.GetEmail(), "\u00e9", "e\u0301")
	})),
	unauthenticated(logsIn("wrong password", func(_ *fixtures, request *gatehousev1.CreateSessionRequest) {
		request.Password = "another password that stands nowhere"
	}), "INVALID_CREDENTIALS"),
	unauthenticated(logsIn("password with a space more", func(_ *fixtures, request *gatehousev1.CreateSessionRequest) {
		request.Password += " "
	}), "INVALID_CREDENTIALS"),
	unauthenticated(logsIn("short password", func(_ *fixtures, request *gatehousev1.CreateSessionRequest) {
		request.Password = "x"
	}), "INVALID_CREDENTIALS"),
	unauthenticated(logsIn("unknown address", func(r *fixtures, request *gatehousev1.CreateSessionRequest) {
		request.Email = r.address("unknown")
	}), "INVALID_CREDENTIALS"),
	ok(logsIn("address with its domain in punycode", func(r *fixtures, request *gatehousev1.CreateSessionRequest) {
		request.Email = strings.ReplaceAll(r.bob.GetEmail(), "@b\u00fccher", "@XN--bcher-kva")
	})),
	unauthenticated(logsIn("address with another's accent", func(r *fixtures, request *gatehousev1.CreateSessionRequest) {
		request.Email = strings.ReplaceAll(r.bob.GetEmail(), "\u00e9", "e")
	}), "INVALID_CREDENTIALS"),
	unauthenticated(logsIn("SQL in the address", func(_ *fixtures, request *gatehousev1.CreateSessionRequest) {
		request.Email = "' OR '1'='1' -- "
	}), "INVALID_CREDENTIALS"),
	invalid(logsIn("nothing at all", func(_ *fixtures, request *gatehousev1.CreateSessionRequest) { request.Reset() }),
		"email REQUIRED", "password REQUIRED"),
	invalid(logsIn("address of 255 bytes", func(_ *fixtures, request *gatehousev1.CreateSessionRequest) {
		request.Email = strings.Repeat("l", 255)
	}), "email STRING_MAX_BYTES"),
	invalid(logsIn("password of 1,025 bytes", func(_ *fixtures, request *gatehousev1.CreateSessionRequest) {
		request.Password = strings.Repeat("p", 1025)
	}), "password STRING_MAX_BYTES"),
}

func reads(name, caller string, id func(*fixtures) string) corpusCase {
	return corpusCase{name: "read: " + name, caller: caller, method: "UserService/ReadUser", request: func(r *fixtures) proto.Message {
		return &gatehousev1.ReadUserRequest{Id: id(r)}
	}}
}

func notFound(c corpusCase) corpusCase {
	c.code, c.http, c.reason = codes.NotFound, http.StatusNotFound, "USER_NOT_FOUND"
	return c
}

var readCases = []corpusCase{
	ok(checked(reads("me", "ada", fixed("me")), ada)),
	ok(checked(reads("me again", "ada", fixed("me")), ada)),
	ok(checked(reads("my own id", "ada", func(r *fixtures) string { return r.ada.GetId() }), ada)),
	ok(checked(reads("my own id in capitals", "ada", func(r *fixtures) string { return strings.ToUpper(r.ada.GetId()) }), ada)),
	notFound(reads("somebody else", "ada", func(r *fixtures) string { return r.bob.GetId() })),
	notFound(reads("nobody", "ada", func(*fixtures) string { return uuid.NewString() })),
	invalid(reads("an id that is no UUID", "ada", fixed("42")), "id USER_ID"),
	invalid(reads("an id with something behind it", "ada", func(r *fixtures) string { return r.ada.GetId() + "0" }), "id USER_ID"),
	invalid(reads("an id in braces", "ada", func(r *fixtures) string { return "{" + r.ada.GetId() + "}" }), "id USER_ID"),
	invalid(reads("ME in capitals", "ada", fixed("ME")), "id USER_ID"),
	unauthenticated(reads("an id that is no UUID, without a token", "nobody", fixed("42")), "ACCESS_TOKEN_MISSING"),
}

func refused(name, reason string) corpusCase {
	return unauthenticated(reads("with "+name, name, fixed("me")), reason)
}

var tokenCases = []corpusCase{
	unauthenticated(reads("without a token", "nobody", fixed("me")), "ACCESS_TOKEN_MISSING"),
	refused("basic authentication", "ACCESS_TOKEN_MISSING"),
	refused("the scheme alone", "ACCESS_TOKEN_INVALID"),
	refused("garbage", "ACCESS_TOKEN_INVALID"),
	refused("two tokens", "ACCESS_TOKEN_INVALID"),
	refused("a flipped bit in the signature", "ACCESS_TOKEN_INVALID"),
	refused("a flipped bit in the claims", "ACCESS_TOKEN_INVALID"),
	refused("a truncated token", "ACCESS_TOKEN_INVALID"),
	refused("padding behind the signature", "ACCESS_TOKEN_INVALID"),
	refused("an oversized token", "ACCESS_TOKEN_INVALID"),
	refused("algorithm none", "ACCESS_TOKEN_INVALID"),
	refused("HMAC with the public key", "ACCESS_TOKEN_INVALID"),
	refused("an unknown kid", "ACCESS_TOKEN_INVALID"),
	refused("no kid", "ACCESS_TOKEN_INVALID"),
	refused("another's signature", "ACCESS_TOKEN_INVALID"),
	refused("another's key in the header", "ACCESS_TOKEN_INVALID"),
	ok(checked(reads("with the scheme in small letters", "the scheme in small letters", fixed("me")), ada)),
	ok(corpusCase{
		name: "keys: with a token that is no good", caller: "garbage", method: "KeyService/ListKeys",
		request: func(*fixtures) proto.Message { return &gatehousev1.ListKeysRequest{} },
	}),
}

var keyCases = []corpusCase{
	ok(checked(corpusCase{
		name: "keys: without a token", method: "KeyService/ListKeys",
		request: func(*fixtures) proto.Message { return &gatehousev1.ListKeysRequest{} },
	}, func(t *testing.T, _ *fixtures, message proto.Message) {
		keys := message.(*gatehousev1.ListKeysResponse).GetKeys()
		if len(keys) != 1 || keys[0].GetKty() != "EC" || keys[0].GetAlg() != "ES256" || keys[0].GetUse() != "sig" {
			t.Errorf("keys are %v", keys)
		}
	})),
	ok(checked(corpusCase{
		name: "configuration: without a token", method: "KeyService/ReadConfiguration",
		request: func(*fixtures) proto.Message { return &gatehousev1.ReadConfigurationRequest{} },
	}, func(t *testing.T, _ *fixtures, message proto.Message) {
		found := message.(*gatehousev1.ReadConfigurationResponse)
		if found.GetIssuer() != "http://localhost:8080" ||
			found.GetJwksUri() != "http://localhost:8080/.well-known/jwks.json" ||
			!slices.Equal(found.GetIdTokenSigningAlgValuesSupported(), []string{"ES256"}) {
			t.Errorf("configuration is %v", found)
		}
	})),
	ok(corpusCase{
		name: "configuration: with a token that is no good", caller: "garbage", method: "KeyService/ReadConfiguration",
		request: func(*fixtures) proto.Message { return &gatehousev1.ReadConfigurationRequest{} },
	}),
}

func checked(c corpusCase, check func(*testing.T, *fixtures, proto.Message)) corpusCase {
	c.check = check
	return c
}

func newcomer(t *testing.T, _ *fixtures, message proto.Message) {
	user := message.(*gatehousev1.CreateUserResponse).GetUser()
	id, err := uuid.Parse(user.GetId())
	if err != nil || id.Version() != 7 || id.String() != user.GetId() {
		t.Errorf("id is %q, not a UUIDv7 in lower case", user.GetId())
	}
	if user.GetVersion() != 1 || user.GetFullName() != "Grace Hopper" || user.GetCreateTime() == nil ||
		!proto.Equal(user.GetCreateTime(), user.GetUpdateTime()) {
		t.Errorf("user is %v", user)
	}
}

func named(want string) func(*testing.T, *fixtures, proto.Message) {
	return func(t *testing.T, _ *fixtures, message proto.Message) {
		user := message.(interface{ GetUser() *gatehousev1.User }).GetUser()
		if got := user.GetFullName(); got != want {
			t.Errorf("the name is %q, not %q", got, want)
		}
	}
}

func ada(t *testing.T, r *fixtures, message proto.Message) {
	if got := message.(*gatehousev1.ReadUserResponse).GetUser(); !proto.Equal(got, r.ada) {
		t.Errorf("user is %v, want %v", got, r.ada)
	}
}

func tokenAnswer(t *testing.T, r *fixtures, message proto.Message) {
	answer := message.(*gatehousev1.CreateSessionResponse)
	session := answer.GetSession()
	if answer.GetTokenType() != "Bearer" || answer.GetExpiresIn() != 900 || answer.GetAccessToken() == "" ||
		answer.GetSessionId() != session.GetId() || !strings.HasPrefix(answer.GetRefreshToken(), "ghrt_") ||
		!proto.Equal(answer.GetCreateTime(), session.GetCreateTime()) || session.GetUserId() != r.ada.GetId() ||
		answer.GetExpireTime().AsTime().Sub(answer.GetCreateTime().AsTime()) != 30*24*time.Hour ||
		tellsWhen(session) || !session.GetCurrent() || session.GetClientAddress() != "127.0.0.1" ||
		session.GetUserAgent() == "" {
		t.Errorf("answer is %v", answer)
	}
}

func methodsOf(t *testing.T, service string) []string {
	t.Helper()
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName("gatehouse.v1." + service))
	if err != nil {
		t.Fatal(err)
	}
	methods := found.(protoreflect.ServiceDescriptor).Methods()
	names := make([]string, 0, methods.Len())
	for i := range methods.Len() {
		names = append(names, service+"/"+string(methods.Get(i).Name()))
	}
	return names
}

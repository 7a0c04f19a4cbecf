package e2e

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

func aborted(c corpusCase) corpusCase {
	c.code, c.http, c.reason = codes.Aborted, http.StatusConflict, "VERSION_MISMATCH"
	return c
}

func roleRequired(c corpusCase) corpusCase {
	c.code, c.http, c.reason = codes.PermissionDenied, http.StatusForbidden, "ROLE_REQUIRED"
	return c
}

// malformedCall is what a case wants of a request that cannot be read.
func malformedCall(c corpusCase) corpusCase {
	c.code, c.http, c.reason = codes.InvalidArgument, http.StatusBadRequest, "MALFORMED_REQUEST"
	return c
}

func noPageToken(c corpusCase) corpusCase {
	c.code, c.http, c.reason = codes.InvalidArgument, http.StatusBadRequest, "PAGE_TOKEN_INVALID"
	return c
}

// edits is an update by an account of its own, made for each call; by is nil.
func edits(name string, change func(*gatehousev1.UpdateUserRequest)) corpusCase {
	return updates(name, "", newcomers, func(_ *fixtures, request *gatehousev1.UpdateUserRequest) { change(request) })
}

func updates(
	name, caller string, by func(*testing.T, *fixtures) []string, change func(*fixtures, *gatehousev1.UpdateUserRequest),
) corpusCase {
	return corpusCase{
		name: "update: " + name, method: "UserService/UpdateUser", caller: caller, by: by,
		request: func(r *fixtures) proto.Message {
			request := &gatehousev1.UpdateUserRequest{User: &gatehousev1.User{Id: "me"}}
			change(r, request)
			return request
		},
	}
}

func masked(name string, paths ...string) corpusCase {
	return edits(name, func(request *gatehousev1.UpdateUserRequest) {
		request.UpdateMask = &fieldmaskpb.FieldMask{Paths: paths}
	})
}

func withField(name string, set func(*gatehousev1.User)) corpusCase {
	return edits(name, func(request *gatehousev1.UpdateUserRequest) { set(request.GetUser()) })
}

func withMetadata(name string, metadata *structpb.Struct) corpusCase {
	return withField(name, func(user *gatehousev1.User) { user.Metadata = metadata })
}

func withLocale(name, locale string) corpusCase {
	return withField(name, func(user *gatehousev1.User) { user.Locale = locale })
}

func withPicture(name, uri string) corpusCase {
	return withField(name, func(user *gatehousev1.User) { user.PictureUri = uri })
}

// nested is an object with so many levels, itself included.
func nested(levels int) *structpb.Struct {
	inner := structpb.NewNumberValue(1)
	for range levels - 1 {
		inner = structpb.NewStructValue(&structpb.Struct{Fields: map[string]*structpb.Value{"in": inner}})
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{"in": inner}}
}

func metadataOf(numbers ...float64) *structpb.Struct {
	list := &structpb.ListValue{}
	for _, number := range numbers {
		list.Values = append(list.Values, structpb.NewNumberValue(number))
	}
	return &structpb.Struct{Fields: map[string]*structpb.Value{"n": structpb.NewListValue(list)}}
}

// ofSize is an object that has so many bytes as JSON.
func ofSize(bytes int) *structpb.Struct {
	text := strings.Repeat("m", bytes-len(`{"text":""}`))
	return &structpb.Struct{Fields: map[string]*structpb.Value{"text": structpb.NewStringValue(text)}}
}

var wholeProfile = &gatehousev1.User{
	FullName: "Augusta Ada King", Locale: "en-GB", TimeZone: "Europe/London",
	PictureUri: "https://example.com/a.png?size=2#top", Metadata: nested(16),
}

// fieldsOfTheService are output only (AIP-203).
var fieldsOfTheService = &gatehousev1.User{
	Email: "eve@example.org", CreateTime: timestamppb.New(time.Unix(1, 0)), UpdateTime: timestamppb.New(time.Unix(2, 0)),
	Version: 17, SessionGeneration: 3, Roles: []string{"admin", "user"}, State: gatehousev1.UserState_USER_STATE_DISABLED,
}

func unchanged(t *testing.T, _ *fixtures, message proto.Message) {
	user := message.(*gatehousev1.UpdateUserResponse).GetUser()
	if user.GetVersion() != 1 || user.GetEmail() == fieldsOfTheService.GetEmail() || len(user.GetRoles()) != 1 ||
		user.GetState() != gatehousev1.UserState_USER_STATE_ACTIVE {
		t.Errorf("user is %v", user)
	}
}

var updateCases = []corpusCase{
	ok(checked(edits("everything", func(request *gatehousev1.UpdateUserRequest) {
		proto.Merge(request.GetUser(), wholeProfile)
	}), func(t *testing.T, _ *fixtures, message proto.Message) {
		user := message.(*gatehousev1.UpdateUserResponse).GetUser()
		if user.GetVersion() != 2 || user.GetFullName() != wholeProfile.GetFullName() || user.GetLocale() != "en-GB" ||
			user.GetTimeZone() != wholeProfile.GetTimeZone() || user.GetPictureUri() != wholeProfile.GetPictureUri() ||
			!proto.Equal(user.GetMetadata(), wholeProfile.GetMetadata()) || !user.GetUpdateTime().AsTime().After(user.GetCreateTime().AsTime()) {
			t.Errorf("user is %v", user)
		}
	})),
	ok(checked(edits("only what the mask names", func(request *gatehousev1.UpdateUserRequest) {
		proto.Merge(request.GetUser(), wholeProfile)
		request.UpdateMask = &fieldmaskpb.FieldMask{Paths: []string{"locale", "time_zone"}}
	}), func(t *testing.T, _ *fixtures, message proto.Message) {
		user := message.(*gatehousev1.UpdateUserResponse).GetUser()
		if user.GetLocale() != "en-GB" || user.GetTimeZone() == "" || user.GetPictureUri() != "" || user.GetFullName() == wholeProfile.GetFullName() {
			t.Errorf("user is %v", user)
		}
	})),
	ok(checked(updates("nothing", "ada", nil, func(*fixtures, *gatehousev1.UpdateUserRequest) {}),
		func(t *testing.T, r *fixtures, message proto.Message) {
			if user := message.(*gatehousev1.UpdateUserResponse).GetUser(); !proto.Equal(user, r.ada) {
				t.Errorf("user is %v, not %v", user, r.ada)
			}
		})),
	ok(checked(updates("what is so already, for its version", "ada", nil, func(r *fixtures, request *gatehousev1.UpdateUserRequest) {
		request.User.FullName, request.Version = r.ada.GetFullName(), r.ada.GetVersion()
	}), func(t *testing.T, r *fixtures, message proto.Message) {
		if user := message.(*gatehousev1.UpdateUserResponse).GetUser(); !proto.Equal(user, r.ada) {
			t.Errorf("user is %v, not %v", user, r.ada)
		}
	})),
	ok(withMetadata("metadata of 16 KiB", ofSize(16<<10))),
	ok(checked(withField("a name with white space around it", func(user *gatehousev1.User) { user.FullName = " \u2028Augusta\ufeff" }),
		named("Augusta"))),
	invalid(withField("a name with a separator in it", func(user *gatehousev1.User) { user.FullName = "Augusta\u2029Ada" }),
		"user.full_name FULL_NAME_PRINTABLE"),
	ok(checked(withMetadata("metadata that is empty", &structpb.Struct{}), func(t *testing.T, _ *fixtures, message proto.Message) {
		user := message.(*gatehousev1.UpdateUserResponse).GetUser()
		if user.GetMetadata() == nil || len(user.GetMetadata().GetFields()) > 0 || user.GetVersion() != 2 {
			t.Errorf("user is %v", user)
		}
	})),
	ok(checked(masked("no metadata", "metadata"), func(t *testing.T, _ *fixtures, message proto.Message) {
		if user := message.(*gatehousev1.UpdateUserResponse).GetUser(); user.GetMetadata() != nil {
			t.Errorf("user is %v", user)
		}
	})),
	ok(withMetadata("the greatest integers", metadataOf(1<<53-1, 1-1<<53))),
	invalid(withMetadata("an integer that is rounded to 2^53", metadataOf(1<<53)), "user.metadata METADATA_NUMBER"),
	invalid(withMetadata("an integer below all that are exact", metadataOf(-1<<53)), "user.metadata METADATA_NUMBER"),
	invalid(withMetadata("a large number", metadataOf(1e300)), "user.metadata METADATA_NUMBER"),
	aborted(updates("of a version that is past", "ada", nil, func(_ *fixtures, request *gatehousev1.UpdateUserRequest) {
		request.User.Locale, request.Version = "de", 7
	})),
	invalid(updates("of a version that cannot be", "ada", nil, func(_ *fixtures, request *gatehousev1.UpdateUserRequest) {
		request.Version = -1
	}), "version INT64_GTE"),
	invalid(masked("an unknown field", "nickname"), "update_mask UPDATE_MASK_FIELD"),
	invalid(masked("a part of metadata", "metadata.theme"), "update_mask UPDATE_MASK_FIELD"),
	invalid(masked("everything by a star", "*"), "update_mask UPDATE_MASK_FIELD"),
	ok(checked(masked("fields of the service in the mask alone", "email", "roles", "version", "state", "id"), unchanged)),
	ok(checked(edits("fields of the service", func(request *gatehousev1.UpdateUserRequest) {
		proto.Merge(request.GetUser(), fieldsOfTheService)
	}), unchanged)),
	ok(checked(edits("the whole user as it was read, with a new name", func(request *gatehousev1.UpdateUserRequest) {
		proto.Merge(request.GetUser(), fieldsOfTheService)
		request.User.FullName = "Augusta Ada King"
		request.UpdateMask = &fieldmaskpb.FieldMask{Paths: []string{
			"id", "email", "full_name", "create_time", "update_time", "version", "session_generation", "roles", "state",
		}}
	}), func(t *testing.T, _ *fixtures, message proto.Message) {
		user := message.(*gatehousev1.UpdateUserResponse).GetUser()
		if user.GetFullName() != "Augusta Ada King" || user.GetVersion() != 2 || !strings.HasSuffix(user.GetEmail(), "@example.com") ||
			user.GetState() != gatehousev1.UserState_USER_STATE_ACTIVE || len(user.GetRoles()) != 1 {
			t.Errorf("user is %v", user)
		}
	})),
	invalid(masked("too many fields", strings.Split(strings.Repeat("locale ", 16)+"locale", " ")...), "update_mask UPDATE_MASK_LENGTH"),
	invalid(masked("no name", "full_name"), "user.full_name REQUIRED"),
	invalid(withField("name that shows nothing", func(user *gatehousev1.User) { user.FullName = "\u3164" }), "user.full_name FULL_NAME_PRINTABLE"),
	invalid(withField("locale that is no tag", func(user *gatehousev1.User) { user.Locale = "en_GB" }), "user.locale LOCALE_TAG"),
	ok(withLocale("locale of a language", "de")),
	ok(withLocale("locale with a script and a region", "zh-Hant-TW")),
	ok(withLocale("locale with variants", "sl-rozaj-biske-1994")),
	ok(withLocale("locale with extensions", "de-CH-u-co-phonebk-x-product")),
	ok(withLocale("locale of a macro-language", "zh-cmn-Hans-CN")),
	ok(withLocale("locale of private use", "x-klingon")),
	invalid(withLocale("locale with two regions", "en-GB-GB"), "user.locale LOCALE_TAG"),
	invalid(withLocale("locale with an extension that is empty", "en-a"), "user.locale LOCALE_TAG"),
	invalid(withLocale("locale with a line break", "en\n"), "user.locale LOCALE_TAG"),
	invalid(withField("time zone with a dot in its path", func(user *gatehousev1.User) {
		user.TimeZone = "Europe/./London"
	}), "user.time_zone TIME_ZONE"),
	invalid(withField("time zone with two slashes", func(user *gatehousev1.User) {
		user.TimeZone = "Europe//London"
	}), "user.time_zone TIME_ZONE"),
	ok(withPicture("picture of a scheme in capitals", "HTTPS://example.com/a.png")),
	ok(withPicture("picture at an IPv6 address", "https://[2001:db8::1]:8443/a.png")),
	ok(withPicture("picture at the last port", "https://example.com:65535/")),
	invalid(withPicture("picture at an invalid port", "https://example.com:65536/"), "user.picture_uri PICTURE_URI_HTTPS"),
	invalid(withPicture("picture at port 0", "https://example.com:0/"), "user.picture_uri PICTURE_URI_HTTPS"),
	invalid(withPicture("picture of a host with a hyphen first", "https://-a.example/"), "user.picture_uri PICTURE_URI_HTTPS"),
	invalid(withPicture("picture of a user at an IPv6 address", "https://a@[2001:db8::1]/"), "user.picture_uri PICTURE_URI_HTTPS"),
	invalid(withField("locale of 36 bytes", func(user *gatehousev1.User) { user.Locale = "en" + strings.Repeat("-a", 17) }), "user.locale STRING_MAX_BYTES"),
	invalid(withField("unknown time zone", func(user *gatehousev1.User) { user.TimeZone = "Mars/Olympus" }), "user.time_zone TIME_ZONE"),
	invalid(withField("time zone that is a path", func(user *gatehousev1.User) { user.TimeZone = "../../etc/passwd" }), "user.time_zone TIME_ZONE"),
	invalid(withPicture("picture over http", "http://example.com/a.png"), "user.picture_uri PICTURE_URI_HTTPS"),
	invalid(withPicture("picture by a script", "javascript:alert(1)"), "user.picture_uri PICTURE_URI_HTTPS"),
	invalid(withPicture("picture of a user", "https://ada@example.com/"), "user.picture_uri PICTURE_URI_HTTPS"),
	invalid(withPicture("picture of no host", "https:///a.png"), "user.picture_uri PICTURE_URI_HTTPS"),
	invalid(withPicture("picture of a dot", "https://./a.png"), "user.picture_uri PICTURE_URI_HTTPS"),
	invalid(withPicture("picture of a port alone", "https://:443/a.png"), "user.picture_uri PICTURE_URI_HTTPS"),
	invalid(withPicture("picture of a host in percent", "https://%00/a.png"), "user.picture_uri PICTURE_URI_HTTPS"),
	ok(withPicture("picture at a port", "https://pictures.example.com:8443/a?b=c#d")),
	invalid(withPicture("picture with a space", "https://example.com/a b"), "user.picture_uri PICTURE_URI_HTTPS"),
	invalid(withPicture("picture of 2,049 bytes", "https://example.com/"+strings.Repeat("p", 2029)), "user.picture_uri STRING_MAX_BYTES"),
	invalid(withMetadata("metadata of 16 KiB and a byte", ofSize(16<<10+1)), "user.metadata METADATA_TOO_LARGE"),
	invalid(withMetadata("metadata too deep", nested(17)), "user.metadata METADATA_TOO_DEEP"),
	invalid(withMetadata("metadata as deep as the gateway reads", nested(30)), "user.metadata METADATA_TOO_DEEP"),
	malformedCall(withMetadata("metadata deeper than the gateway reads", nested(31))),
	malformedCall(withMetadata("metadata far too deep", nested(3000))),
	malformedCall(withMetadata("metadata deeper than protobuf reads", nested(3400))),
	roleRequired(withField("app metadata by a user", func(user *gatehousev1.User) { user.AppMetadata = ofSize(100) })),
	roleRequired(masked("app metadata by a user, emptied", "app_metadata")),
	notFound(updates("somebody else", "ada", nil, func(r *fixtures, request *gatehousev1.UpdateUserRequest) {
		request.User = &gatehousev1.User{Id: r.bob.GetId(), FullName: "Eve"}
	})),
	notFound(updates("nobody, by an admin", "root", nil, func(_ *fixtures, request *gatehousev1.UpdateUserRequest) {
		request.User.Id = uuid.NewString()
	})),
	invalid(updates("an id that is no UUID", "ada", nil, func(_ *fixtures, request *gatehousev1.UpdateUserRequest) {
		request.User.Id = "42"
	}), "user USER_ID"),
	unauthenticated(updates("without a token", "nobody", nil, func(*fixtures, *gatehousev1.UpdateUserRequest) {}), "ACCESS_TOKEN_MISSING"),
	unauthenticated(updates("with a token of a session that has ended", "ended", nil, func(*fixtures, *gatehousev1.UpdateUserRequest) {}), "SESSION_ENDED"),
	ok(checked(updates("somebody's app metadata, by an admin", "root", nil, func(r *fixtures, request *gatehousev1.UpdateUserRequest) {
		request.User = &gatehousev1.User{Id: signUp(r.t, r.env, r.address("managed")).GetId(), FullName: "Managed", AppMetadata: ofSize(100)}
	}), func(t *testing.T, r *fixtures, message proto.Message) {
		user := message.(*gatehousev1.UpdateUserResponse).GetUser()
		if !proto.Equal(user.GetAppMetadata(), ofSize(100)) || user.GetFullName() != "Managed" {
			t.Errorf("user is %v", user)
		}
		own, err := gatehousev1.NewUserServiceClient(r.env.conn).ReadUser(
			withTokens(callContext(t), callsAs(openSession(t, r.env, user.GetEmail()))), &gatehousev1.ReadUserRequest{Id: "me"})
		if err != nil || own.GetUser().GetAppMetadata() != nil || own.GetUser().GetFullName() != "Managed" {
			t.Errorf("the user reads %v, %v", own, err)
		}
	})),
}

func deletes(
	name, caller string, by func(*testing.T, *fixtures) []string, id func(*fixtures) string,
) corpusCase {
	return corpusCase{
		name: "delete: " + name, method: "UserService/DeleteUser", caller: caller, by: by,
		request: func(r *fixtures) proto.Message { return &gatehousev1.DeleteUserRequest{Id: id(r)} },
	}
}

// doomed makes an account, and remembers it for the case's check.
func doomed(r *fixtures) string {
	r.victim = signUp(r.t, r.env, r.address("doomed"))
	return r.victim.GetId()
}

var deleteCases = []corpusCase{
	ok(deletes("me", "", newcomers, fixed("me"))),
	ok(checked(deletes("anybody, by an admin", "root", nil, doomed), func(t *testing.T, r *fixtures, _ proto.Message) {
		_, err := gatehousev1.NewSessionServiceClient(r.env.conn).CreateSession(callContext(t),
			&gatehousev1.CreateSessionRequest{Email: r.victim.GetEmail(), Password: adasPassword})
		wantErrorReason(t, err, "INVALID_CREDENTIALS")
		_, err = gatehousev1.NewUserServiceClient(r.env.conn).ReadUser(withTokens(callContext(t), callsAs(r.root)),
			&gatehousev1.ReadUserRequest{Id: r.victim.GetId()})
		wantErrorReason(t, err, "USER_NOT_FOUND")
		if again := signUp(t, r.env, r.victim.GetEmail()); again.GetId() == r.victim.GetId() {
			t.Error("the id was given again")
		}
	})),
	notFound(deletes("somebody else", "ada", nil, func(r *fixtures) string { return r.bob.GetId() })),
	notFound(deletes("nobody, by an admin", "root", nil, nobodys)),
	invalid(deletes("an id that is no UUID", "root", nil, fixed("42")), "id USER_ID"),
	aborted(corpusCase{
		name: "delete: of a version that is past", method: "UserService/DeleteUser", caller: "ada",
		request: func(*fixtures) proto.Message { return &gatehousev1.DeleteUserRequest{Id: "me", Version: 7} },
	}),
	unauthenticated(deletes("without a token", "nobody", nil, fixed("me")), "ACCESS_TOKEN_MISSING"),
	unauthenticated(deletes("with a token of a session that has ended", "ended", nil, fixed("me")), "SESSION_ENDED"),
}

func signsUpOnce(name string, change func(*fixtures, *gatehousev1.CreateUserRequest)) corpusCase {
	return signsUp("once, "+name, change)
}

// sent is a sign-up that was sent already.
func sent(r *fixtures, request *gatehousev1.CreateUserRequest) {
	request.RequestId = uuid.NewString()
	response, err := gatehousev1.NewUserServiceClient(r.env.conn).CreateUser(callContext(r.t), request)
	if err != nil {
		r.t.Fatal(err)
	}
	r.victim = response.GetUser()
}

func reused(c corpusCase) corpusCase {
	c.code, c.http, c.reason = codes.InvalidArgument, http.StatusBadRequest, "REQUEST_ID_REUSED"
	return c
}

var signUpOnceCases = []corpusCase{
	ok(checked(signsUpOnce("for the first time", func(_ *fixtures, request *gatehousev1.CreateUserRequest) {
		request.RequestId = strings.Repeat("~", 64) + uuid.NewString()
	}), newcomer)),
	ok(checked(signsUpOnce("again", sent), func(t *testing.T, r *fixtures, message proto.Message) {
		if user := message.(*gatehousev1.CreateUserResponse).GetUser(); !proto.Equal(user, r.victim) {
			t.Errorf("the second answer is %v, not %v", user, r.victim)
		}
	})),
	reused(signsUpOnce("again with another name", func(r *fixtures, request *gatehousev1.CreateUserRequest) {
		sent(r, request)
		request.FullName += "!"
	})),
	reused(signsUpOnce("again with another password", func(r *fixtures, request *gatehousev1.CreateUserRequest) {
		sent(r, request)
		request.Password += "!"
	})),
	reused(signsUpOnce("again with another address", func(r *fixtures, request *gatehousev1.CreateUserRequest) {
		sent(r, request)
		request.Email = r.address("other")
	})),
	taken(signsUpOnce("with an address that is taken", func(r *fixtures, request *gatehousev1.CreateUserRequest) {
		request.Email, request.RequestId = r.ada.GetEmail(), uuid.NewString()
	})),
	invalid(signsUpOnce("with a request id of 129 bytes", func(_ *fixtures, request *gatehousev1.CreateUserRequest) {
		request.RequestId = strings.Repeat("r", 129)
	}), "request_id STRING_MAX_BYTES"),
	invalid(signsUpOnce("with a request id that has a space", func(_ *fixtures, request *gatehousev1.CreateUserRequest) {
		request.RequestId = "a b"
	}), "request_id REQUEST_ID_VISIBLE"),
}

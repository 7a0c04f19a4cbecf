package fieldrules

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// TestCut looks at what is left of a megabyte for regular expressions and CEL to run over.
func TestCut(t *testing.T) {
	long := strings.Repeat("ä", 1<<19)
	for name, message := range map[string]proto.Message{
		"sign_up": &gatehousev1.CreateUserRequest{Email: long, FullName: long, Password: long, RequestId: long},
		"log_in":  &gatehousev1.CreateSessionRequest{Email: long, Password: long},
		"refresh": &gatehousev1.RefreshSessionRequest{RefreshToken: long},
		"profile": &gatehousev1.UpdateUserRequest{User: &gatehousev1.User{
			Id: long, Email: long, FullName: long, Locale: long, TimeZone: long, PictureUri: long,
			Roles: slices.Repeat([]string{"admin"}, 100_000),
		}},
		"roles": &gatehousev1.SetRolesRequest{Id: long, Roles: slices.Repeat([]string{"admin"}, 100_000)},
		"users": &gatehousev1.ListUsersRequest{PageToken: long, EmailPrefix: long, Role: long},
		"audit": &gatehousev1.ListAuditEventsRequest{PageToken: long, UserId: long, Actor: long},
	} {
		t.Run(name, func(t *testing.T) {
			sizes, err := newMessageSizes(message.ProtoReflect().Descriptor())
			if err != nil {
				t.Fatal(err)
			}
			cut, paths := sizes.cut(message.ProtoReflect(), "")
			if left := proto.Size(cut.Interface()); left > 8<<10 {
				t.Errorf("%d bytes are left; cut was %v", left, paths)
			}
		})
	}
}

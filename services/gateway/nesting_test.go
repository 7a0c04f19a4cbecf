package gateway

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

// metadataJSON is metadata with so many levels, of objects and lists in turn.
func metadataJSON(levels int) string {
	var text strings.Builder
	var ends []string
	for level := range levels {
		if level%2 == 0 {
			text.WriteString(`{"\"[":`)
			ends = append(ends, "}")
		} else {
			text.WriteString(`[`)
			ends = append(ends, "]")
		}
	}
	text.WriteString(`"[[[{{{"`)
	for _, end := range slices.Backward(ends) {
		text.WriteString(end)
	}
	return text.String()
}

func TestNesting(t *testing.T) {
	const aroundMetadata = 2 // the request, and the user in it
	env, u := newServedEnv(t)
	token := "Bearer " + u.token(t)
	for _, test := range []struct {
		levels int
		fits   bool
	}{{1, true}, {16, true}, {edge.MaxNesting - aroundMetadata, true}, {edge.MaxNesting - aroundMetadata + 1, false}, {1000, false}} {
		t.Run(fmt.Sprintf("%d levels", test.levels), func(t *testing.T) {
			body := `{"metadata":` + metadataJSON(test.levels) + `}`
			got := env.call(t, http.MethodPatch, "/v1/users/me", strings.NewReader(body), "Content-Type: application/json",
				"Authorization: "+token)
			request := &gatehousev1.UpdateUserRequest{User: &gatehousev1.User{}}
			if err := protojson.Unmarshal([]byte(body), request.GetUser()); err != nil {
				t.Fatal(err)
			}
			request.User.Id = "me"
			_, err := gatehousev1.NewUserServiceClient(env.conn).UpdateUser(
				metadata.AppendToOutgoingContext(t.Context(), "authorization", token), request)
			if !test.fits {
				got.wantFailure(t, http.StatusBadRequest, "MALFORMED_REQUEST")
				wantStatus(t, err, codes.InvalidArgument, "MALFORMED_REQUEST")
				return
			}
			got.wantOK(t)
			if err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("a_body_of_brackets_alone", func(t *testing.T) {
		for _, bracket := range []string{"[", `{"a":`, `"]}`} {
			env.post(t, "/v1/users", strings.Repeat(bracket, 2000)).wantFailure(t, http.StatusBadRequest, "MALFORMED_REQUEST")
		}
	})
	wantServed(t, env, u, bystander)
}

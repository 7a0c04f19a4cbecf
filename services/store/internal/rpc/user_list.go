package rpc

import (
	"context"
	"strings"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// ListUsers lists users in the order of their canonical e-mail addresses.
func (s *userService) ListUsers(
	ctx context.Context, req *gatehousev1.ListUsersRequest,
) (*gatehousev1.ListUsersResponse, error) {
	filter := storage.UserFilter{
		EmailPrefix: req.GetEmailPrefix(), State: stateOf(req.GetState()), Admins: req.GetRole() == account.RoleAdmin,
	}
	list := strings.Join([]string{"users", filter.EmailPrefix, string(filter.State), req.GetRole()}, "\x00")
	var err error
	if filter.After, err = s.Pages.Read(list, req.GetPageToken()); err != nil {
		return nil, apierr.PageTokenInvalid(err)
	}
	size := pageSize(req.GetPageSize())
	users, err := s.Storage.ListUsers(ctx, filter, size+1) // One more: is there a next page?
	if err != nil {
		return nil, apiError(err)
	}
	response := &gatehousev1.ListUsersResponse{}
	bytes := 0
	for i, user := range users {
		resource, err := fullUserResource(user.User)
		if err != nil {
			return nil, err
		}
		bytes += proto.Size(resource)
		if i == size || i > 0 && bytes > maxPageBytes {
			response.NextPageToken = s.Pages.Make(list, users[i-1].Position)
			break
		}
		response.Users = append(response.Users, resource)
	}
	return response, nil
}

// maxPageBytes ends a page early: the metadata of users must not make a page larger than the messages that services
// send, or no call could list these users. One user has 180 KiB at most.
const maxPageBytes = grpcx.MaxMessageSize / 2

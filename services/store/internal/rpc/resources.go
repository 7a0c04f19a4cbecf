package rpc

import (
	"context"
	"fmt"
	"strings"

	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/contract"
)

// defaultPageSize is the size of a page if the request has none.
const defaultPageSize = 20

func pageSize(requested int32) int {
	if requested == 0 {
		return defaultPageSize
	}
	return int(requested)
}

// userResource returns a user without what only admins may see.
func userResource(user account.User) (*gatehousev1.User, error) {
	metadata, err := contract.DecodeMetadata(user.Metadata)
	if err != nil {
		return nil, fmt.Errorf("read the metadata of user %s: %w", user.ID, err)
	}
	resource := &gatehousev1.User{
		Id: user.ID, Email: user.Email, FullName: user.FullName, Locale: user.Locale, TimeZone: user.TimeZone,
		PictureUri: user.PictureURI, Metadata: metadata,
		CreateTime: timestamppb.New(user.CreateTime), UpdateTime: timestamppb.New(user.UpdateTime),
		Version: user.Version, SessionGeneration: user.SessionGeneration,
		Roles: user.Roles(), State: gatehousev1.UserState_USER_STATE_ACTIVE,
	}
	if user.State == account.Disabled {
		resource.State = gatehousev1.UserState_USER_STATE_DISABLED
	}
	return resource, nil
}

// fullUserResource returns a user with all that admins may see.
func fullUserResource(user account.User) (*gatehousev1.User, error) {
	resource, err := userResource(user)
	if err != nil {
		return nil, err
	}
	if resource.AppMetadata, err = contract.DecodeMetadata(user.AppMetadata); err != nil {
		return nil, fmt.Errorf("read the app metadata of user %s: %w", user.ID, err)
	}
	return resource, nil
}

// visibleUser returns a user with what the caller may see.
func visibleUser(ctx context.Context, user account.User) (*gatehousev1.User, error) {
	if authn.IsAdmin(ctx) {
		return fullUserResource(user)
	}
	return userResource(user)
}

// stateOf returns the state that a request names, or "" if it names none.
func stateOf(state gatehousev1.UserState) account.UserState {
	if state == gatehousev1.UserState_USER_STATE_UNSPECIFIED {
		return ""
	}
	return account.UserState(strings.TrimPrefix(state.String(), "USER_STATE_"))
}

func sessionResource(session account.Session) *gatehousev1.Session {
	return &gatehousev1.Session{
		Id: session.ID, UserId: session.UserID,
		CreateTime:  timestamppb.New(session.CreateTime),
		LastUseTime: timestamppb.New(session.LastUseTime), ExpireTime: timestamppb.New(session.ExpireTime),
		UserAgent: session.UserAgent, ClientAddress: session.ClientAddress,
		PreviousUserAgent: session.PreviousUserAgent, PreviousClientAddress: session.PreviousClientAddress,
		Version: session.Version, Generation: session.Generation,
	}
}

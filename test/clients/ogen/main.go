// Command ogen signs up, logs in and logs out with the client that ogen generates of the OpenAPI document into the
// folder api: see TestOpenAPIClients.
//
// To update ogen: `go get -tool github.com/ogen-go/ogen/cmd/ogen@VERSION`, generate as the test does, `go mod tidy`.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"slices"
	"time"

	"github.com/gatehouse-auth/gatehouse/test/clients/ogen/api"
)

const (
	email    = "ogen@example.com"
	password = "correct horse battery staple"
)

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tokens := &bearer{}
	client, err := api.NewClient(os.Getenv("GATEHOUSE_URL"), tokens)
	if err == nil {
		err = run(ctx, client, tokens)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// bearer is the access token to call with.
type bearer struct{ token string }

// Bearer implements api.SecuritySource.
func (b *bearer) Bearer(context.Context, api.OperationName) (api.Bearer, error) {
	return api.Bearer{Token: b.token}, nil
}

func run(ctx context.Context, client *api.Client, tokens *bearer) error {
	if err := signUp(ctx, client); err != nil {
		return fmt.Errorf("sign up: %w", err)
	}
	if err := logIn(ctx, client, tokens); err != nil {
		return fmt.Errorf("log in: %w", err)
	}
	if err := changeProfile(ctx, client); err != nil {
		return fmt.Errorf("change the profile: %w", err)
	}
	if err := logOut(ctx, client); err != nil {
		return fmt.Errorf("log out: %w", err)
	}
	return nil
}

func signUp(ctx context.Context, client *api.Client) error {
	request := &api.GatehouseV1CreateUserRequest{Email: email, FullName: "Ada Lovelace", Password: "short"}
	answer, err := client.UserServiceCreateUser(ctx, request, api.UserServiceCreateUserParams{})
	refused, ok := answer.(*api.UserServiceCreateUserBadRequest)
	if err != nil || !ok || !isRefused(refused.Response, "INVALID_FIELDS", "password") {
		return fmt.Errorf("a short password is answered %+v, %w", answer, err)
	}
	request.Password = password
	answer, err = client.UserServiceCreateUser(ctx, request, api.UserServiceCreateUserParams{})
	if made, ok := answer.(*api.GatehouseV1CreateUserResponseHeaders); err != nil || !ok || made.Response.User.Value.Email != email {
		return fmt.Errorf("the answer is %+v, %w", answer, err)
	}
	answer, err = client.UserServiceCreateUser(ctx, request, api.UserServiceCreateUserParams{})
	taken, ok := answer.(*api.UserServiceCreateUserConflict)
	if err != nil || !ok || !isRefused(taken.Response, "EMAIL_TAKEN") {
		return fmt.Errorf("a taken address is answered %+v, %w", answer, err)
	}
	return nil
}

func logIn(ctx context.Context, client *api.Client, tokens *bearer) error {
	opened, err := client.SessionServiceCreateSession(ctx, &api.GatehouseV1CreateSessionRequest{Email: email, Password: password})
	session, ok := opened.(*api.GatehouseV1CreateSessionResponse)
	if err != nil || !ok {
		return fmt.Errorf("the answer is %+v, %w", opened, err)
	}
	answer, err := client.SessionServiceRefreshSession(ctx,
		&api.GatehouseV1RefreshSessionRequest{RefreshToken: session.RefreshToken})
	refreshed, ok := answer.(*api.GatehouseV1RefreshSessionResponse)
	if err != nil || !ok || refreshed.SessionId != session.SessionId {
		return fmt.Errorf("refresh: the answer is %+v, %w", answer, err)
	}
	tokens.token = refreshed.AccessToken
	return nil
}

func changeProfile(ctx context.Context, client *api.Client) error {
	answer, err := client.UserServiceReadUser(ctx, api.UserServiceReadUserParams{ID: "me"})
	profile, ok := answer.(*api.GatehouseV1ReadUserResponseHeaders)
	if err != nil || !ok || profile.Response.User.Value.FullName != "Ada Lovelace" {
		return fmt.Errorf("read: the answer is %+v, %w", answer, err)
	}
	request := &api.GatehouseV1UpdateUserRequest{FullName: api.NewOptString("Ada King")}
	params := api.UserServiceUpdateUserParams{ID: "me", IfMatch: profile.ETag}
	changed, err := client.UserServiceUpdateUser(ctx, request, params)
	if user, ok := changed.(*api.GatehouseV1UpdateUserResponseHeaders); err != nil || !ok ||
		user.Response.User.Value.FullName != "Ada King" || user.ETag == profile.ETag {
		return fmt.Errorf("the answer is %+v, %w", changed, err)
	}
	changed, err = client.UserServiceUpdateUser(ctx, request, params)
	outdated, ok := changed.(*api.UserServiceUpdateUserPreconditionFailed)
	if err != nil || !ok || !isRefused(outdated.Response, "VERSION_MISMATCH") {
		return fmt.Errorf("an old version is answered %+v, %w", changed, err)
	}
	return nil
}

func logOut(ctx context.Context, client *api.Client) error {
	listed, err := client.SessionServiceListSessions(ctx, api.SessionServiceListSessionsParams{})
	if list, ok := listed.(*api.GatehouseV1ListSessionsResponse); err != nil || !ok || len(list.Sessions) != 1 || !list.Sessions[0].Current {
		return fmt.Errorf("the list is %+v, %w", listed, err)
	}
	ended, err := client.SessionServiceDeleteSession(ctx, api.SessionServiceDeleteSessionParams{ID: "current"})
	if _, ok := ended.(*api.GatehouseV1DeleteSessionResponse); err != nil || !ok {
		return fmt.Errorf("the answer is %+v, %w", ended, err)
	}
	answer, err := client.UserServiceReadUser(ctx, api.UserServiceReadUserParams{ID: "me"})
	refused, ok := answer.(*api.UserServiceReadUserUnauthorized)
	if err != nil || !ok || !isRefused(refused.Response, "SESSION_ENDED") {
		return fmt.Errorf("the token is answered %+v, %w", answer, err)
	}
	return nil
}

// isRefused reports whether a status has this reason, and violations of these fields.
func isRefused(status api.GoogleRPCStatus, reason string, fields ...string) bool {
	var found bool
	var violated []string
	for _, detail := range status.Details {
		if info, ok := detail.GetGoogleRPCErrorInfo(); ok {
			found = info.Reason == reason
		}
		if request, ok := detail.GetGoogleRPCBadRequest(); ok {
			for _, violation := range request.FieldViolations {
				violated = append(violated, violation.Field)
			}
		}
	}
	return found && slices.Equal(violated, fields)
}

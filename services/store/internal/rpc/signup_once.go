package rpc

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/login"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// createUserOnce signs up with a request id. Nothing that depends on the password is stored with the id: a repeat is
// compared with the account's credential.
func (s *userService) createUserOnce(
	ctx context.Context, req *gatehousev1.CreateUserRequest,
) (*gatehousev1.CreateUserResponse, error) {
	signUp, err := newSignUp(req)
	if err != nil {
		return nil, err
	}
	answer, err := s.repeated(ctx, req, signUp)
	if !errors.Is(err, storage.ErrNotFound) {
		return answer, err
	}
	hash, err := s.Hasher.Hash(ctx, req.GetPassword())
	if err != nil {
		return nil, apiError(err)
	}
	user, err := s.newUser(req)
	if err != nil {
		return nil, err
	}
	err = s.Storage.CreateUserOnce(ctx, user, hash, signUp, user.CreateTime.Add(-account.SignUpRetention))
	if !errors.Is(err, storage.ErrRequestTaken) {
		return createUserResponse(user, err)
	}
	answer, err = s.repeated(ctx, req, signUp) // The same was faster.
	if errors.Is(err, storage.ErrNotFound) {
		err = apierr.Unavailable(err) // And was deleted since: to try again is right.
	}
	return answer, err
}

func newSignUp(req *gatehousev1.CreateUserRequest) (storage.SignUp, error) {
	fingerprinted := proto.CloneOf(req)
	fingerprinted.Password, fingerprinted.RequestId = "", ""
	written, err := proto.MarshalOptions{Deterministic: true}.Marshal(fingerprinted)
	if err != nil {
		return storage.SignUp{}, fmt.Errorf("marshal a sign-up: %w", err)
	}
	id, fingerprint := sha256.Sum256([]byte(req.GetRequestId())), sha256.Sum256(written)
	return storage.SignUp{RequestID: id[:], Fingerprint: fingerprint[:]}, nil
}

// repeated returns the response to a sign-up that was sent before. It fails with storage.ErrNotFound if there
// was none with this request id.
//
// A client that knows a request id must not be able to guess the password without the limits and the audit of a log-in.
// So a request that is not the same voids the id for good and is audited, and a comparison of the password waits in the
// queue of all hashes. A password that was compared and is wrong voids the id even if the caller has left; one that is
// right writes to the same row before it is answered, and so waits for the guesses that failed before it.
func (s *userService) repeated(
	ctx context.Context, req *gatehousev1.CreateUserRequest, signUp storage.SignUp,
) (*gatehousev1.CreateUserResponse, error) {
	known, err := s.readSignUp(ctx, signUp)
	if err != nil {
		return nil, err
	}
	credential, err := s.Storage.ReadCredentialOf(ctx, known.UserID)
	if err != nil {
		return nil, apiError(err)
	}
	if subtle.ConstantTimeCompare(known.Fingerprint, signUp.Fingerprint) != 1 || !isAsSignedUp(credential) {
		return nil, s.voidSignUp(ctx, known)
	}
	matches, err := s.Hasher.Verify(ctx, credential.PasswordHash, req.GetPassword())
	if err != nil {
		return nil, apiError(err)
	}
	if !matches {
		ctx, cancel := login.AfterComparison(ctx)
		defer cancel()
		return nil, s.voidSignUp(ctx, known)
	}
	err = s.Storage.ConfirmSignUp(ctx, known)
	if errors.Is(err, storage.ErrNotFound) { // Another request has voided it since the comparison began.
		return nil, apierr.RequestIDReused()
	}
	if err != nil {
		return nil, apiError(err)
	}
	return createUserResponse(signUpUser(req, known.UserID, known.CreateTime), nil)
}

// readSignUp reads the sign-up of a request id. It fails with REQUEST_ID_REUSED if that is void.
func (s *userService) readSignUp(ctx context.Context, signUp storage.SignUp) (storage.SignUp, error) {
	known, err := s.Storage.ReadSignUp(ctx, signUp.RequestID, s.Now().Add(-account.SignUpRetention))
	if err != nil {
		return storage.SignUp{}, apiError(err)
	}
	if known.Void() {
		return storage.SignUp{}, apierr.RequestIDReused()
	}
	return known, nil
}

// isAsSignedUp reports whether the sessions of an account were never ended all at once: by a new password, a reset, a
// log-out everywhere, or because it was disabled. If they were, the answer to its sign-up has long arrived, and no
// password is compared.
func isAsSignedUp(credential account.Credential) bool {
	return credential.SessionGeneration == 0 && credential.State == account.Active
}

// voidSignUp invalidates a request id that came with another request, and returns REQUEST_ID_REUSED.
func (s *userService) voidSignUp(ctx context.Context, known storage.SignUp) error {
	refusal := apierr.RequestIDReused()
	if err := s.Storage.VoidSignUp(ctx, known, apierr.ReasonName(refusal.Reason()), s.Now()); err != nil {
		return apiError(err)
	}
	return refusal
}

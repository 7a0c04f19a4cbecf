package store

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// signUpRetention is for how long a sign-up can be sent again.
const signUpRetention = 24 * time.Hour

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
	hash, err := s.hasher.Hash(ctx, req.GetPassword())
	if err != nil {
		return nil, err
	}
	user, err := s.newUser(req)
	if err != nil {
		return nil, err
	}
	err = s.storage.CreateUserOnce(ctx, user, hash, signUp, user.CreateTime.Add(-signUpRetention))
	if !errors.Is(err, storage.ErrRequestTaken) {
		return created(user, err)
	}
	answer, err = s.repeated(ctx, req, signUp) // The same was faster.
	if errors.Is(err, storage.ErrNotFound) {
		err = apierr.Unavailable(err) // And was deleted since: to try again is right.
	}
	return answer, err
}

func newSignUp(req *gatehousev1.CreateUserRequest) (storage.SignUp, error) {
	asked := proto.CloneOf(req)
	asked.Password, asked.RequestId = "", ""
	written, err := proto.MarshalOptions{Deterministic: true}.Marshal(asked)
	if err != nil {
		return storage.SignUp{}, fmt.Errorf("marshal a sign-up: %w", err)
	}
	id, fingerprint := sha256.Sum256([]byte(req.GetRequestId())), sha256.Sum256(written)
	return storage.SignUp{RequestID: id[:], Fingerprint: fingerprint[:]}, nil
}

// repeated answers a sign-up that was sent before as it was answered then. It fails with storage.ErrNotFound if there
// was none with this request id.
//
// Whoever knows a request id must not be able to guess the password without the limits and the audit of a log-in. So a
// request that is not the same voids the id for good and is audited, and a comparison of the password waits in the
// queue of all hashes. Guesses that are sent at once are compared only as long as none of them has failed.
func (s *userService) repeated(
	ctx context.Context, req *gatehousev1.CreateUserRequest, signUp storage.SignUp,
) (*gatehousev1.CreateUserResponse, error) {
	known, err := s.readSignUp(ctx, signUp)
	if err != nil {
		return nil, err
	}
	same := subtle.ConstantTimeCompare(known.Fingerprint, signUp.Fingerprint) == 1
	if same {
		if same, err = s.isSamePassword(ctx, known, req.GetPassword()); err != nil {
			return nil, err
		}
	}
	if !same {
		return nil, s.voidSignUp(ctx, known)
	}
	if _, err := s.readSignUp(ctx, signUp); err != nil { // It may be void since the comparison began.
		return nil, err
	}
	return created(signedUp(req, known.UserID, known.CreateTime), nil)
}

// readSignUp reads the sign-up of a request id. It fails with REQUEST_ID_REUSED if that is void.
func (s *userService) readSignUp(ctx context.Context, signUp storage.SignUp) (storage.SignUp, error) {
	known, err := s.storage.ReadSignUp(ctx, signUp.RequestID, s.now().Add(-signUpRetention))
	if err != nil {
		return storage.SignUp{}, translate(err)
	}
	if known.Void() {
		return storage.SignUp{}, apierr.RequestIDReused()
	}
	return known, nil
}

// isSamePassword compares a password with that of the account which a sign-up made. It fails with REQUEST_ID_REUSED,
// and compares nothing, once the sessions of the account were ended all at once: by a new password, a reset, a
// log-out everywhere, or because it was disabled. The answer to that sign-up has long arrived by then.
func (s *userService) isSamePassword(ctx context.Context, known storage.SignUp, password string) (bool, error) {
	credential, err := s.storage.ReadCredentialOf(ctx, known.UserID)
	if err != nil {
		return false, translate(err)
	}
	if credential.SessionGeneration > 0 || credential.State != storage.Active {
		return false, apierr.RequestIDReused()
	}
	return s.hasher.Verify(ctx, credential.PasswordHash, password)
}

// voidSignUp voids a request id that came with another request, and returns REQUEST_ID_REUSED.
func (s *userService) voidSignUp(ctx context.Context, known storage.SignUp) error {
	refusal := apierr.RequestIDReused()
	if err := s.storage.VoidSignUp(ctx, known, apierr.ReasonName(refusal.Reason()), s.now()); err != nil {
		return translate(err)
	}
	return refusal
}

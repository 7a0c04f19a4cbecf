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

// createUserOnce signs up with a request id. Of the request it keeps a digest, but of the password only the hash that
// it is checked against anyway: no digest of a password that could be tried fast.
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
	if signUp.PasswordHash, err = s.hasher.Hash(ctx, req.GetPassword()); err != nil {
		return nil, err
	}
	user, err := s.newUser(req)
	if err != nil {
		return nil, err
	}
	err = s.storage.CreateUserOnce(ctx, user, signUp, user.CreateTime.Add(-signUpRetention))
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
func (s *userService) repeated(
	ctx context.Context, req *gatehousev1.CreateUserRequest, signUp storage.SignUp,
) (*gatehousev1.CreateUserResponse, error) {
	known, err := s.storage.ReadSignUp(ctx, signUp.RequestID, s.now().Add(-signUpRetention))
	if err != nil {
		return nil, translate(err)
	}
	same := subtle.ConstantTimeCompare(known.Fingerprint, signUp.Fingerprint) == 1
	if same {
		if same, err = s.hasher.Verify(ctx, known.PasswordHash, req.GetPassword()); err != nil {
			return nil, err
		}
	}
	if !same {
		return nil, apierr.RequestIDReused()
	}
	return created(signedUp(req, known.UserID, known.CreateTime), nil)
}

package storage

import (
	"bytes"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
)

// newSignUp is a sign-up of the user, with a request id that the number tells from others.
func newSignUp(user account.User, number byte) SignUp {
	return SignUp{
		RequestID: bytes.Repeat([]byte{number}, 32), Fingerprint: bytes.Repeat([]byte{0xff, 0}, 16), UserID: user.ID,
		CreateTime: user.CreateTime.Truncate(time.Microsecond),
	}
}

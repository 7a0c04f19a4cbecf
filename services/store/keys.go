package store

import (
	"context"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/signing"
)

// keyService implements gatehouse.v1.KeyService.
type keyService struct {
	gatehousev1.UnimplementedKeyServiceServer

	keyring *signing.Keyring
}

// ListKeys lists the public keys.
func (s *keyService) ListKeys(
	ctx context.Context, _ *gatehousev1.ListKeysRequest,
) (*gatehousev1.ListKeysResponse, error) {
	keys, err := s.keyring.PublicKeys(ctx)
	return keys, translate(err)
}

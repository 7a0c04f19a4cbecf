package rpc

import (
	"context"
	"slices"

	"google.golang.org/grpc"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/signing"
)

// keySetPath is the path of ListKeys over REST, as its route in the contract says.
const keySetPath = "/.well-known/jwks.json"

// keyService implements gatehouse.v1.KeyService.
type keyService struct {
	gatehousev1.UnsafeKeyServiceServer
	Config
}

// ListKeys lists the public keys. Services also receive the settings that this one issues tokens with.
func (s *keyService) ListKeys(
	ctx context.Context, _ *gatehousev1.ListKeysRequest,
) (*gatehousev1.ListKeysResponse, error) {
	keys, err := PublicKeys(ctx, s.Keyring)
	if err == nil && authn.PeerFrom(ctx) != "" {
		err = grpc.SetHeader(ctx, s.Settings().Metadata())
	}
	return keys, apiError(err)
}

// ReadConfiguration returns all that verifiers need except the audience.
func (s *keyService) ReadConfiguration(
	ctx context.Context, _ *gatehousev1.ReadConfigurationRequest,
) (*gatehousev1.ReadConfigurationResponse, error) {
	keys, err := PublicKeys(ctx, s.Keyring)
	if err != nil {
		return nil, apiError(err)
	}
	var algorithms []string
	for _, key := range keys.GetKeys() {
		algorithms = append(algorithms, key.GetAlg())
	}
	slices.Sort(algorithms)
	return &gatehousev1.ReadConfigurationResponse{
		Issuer:                           s.Issuer,
		JwksUri:                          s.Issuer + keySetPath,
		IdTokenSigningAlgValuesSupported: slices.Compact(algorithms),
		SubjectTypesSupported:            []string{"public"},
		ClaimsSupported:                  signing.ClaimNames(),
	}, nil
}

// PublicKeys returns the published keys of a keyring as the contract has them.
func PublicKeys(ctx context.Context, keyring *signing.Keyring) (*gatehousev1.ListKeysResponse, error) {
	keys, err := keyring.PublicKeys(ctx)
	if err != nil {
		return nil, err
	}
	response := &gatehousev1.ListKeysResponse{}
	for _, public := range keys {
		key, err := jwk.FromPublic(public)
		if err != nil {
			return nil, err
		}
		response.Keys = append(response.Keys, key)
	}
	return response, nil
}

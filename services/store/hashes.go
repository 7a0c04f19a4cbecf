package store

import (
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
)

// hashSampleInterval is how often the hashes of accounts are sampled: they change as fast as people log in.
const hashSampleInterval = 10 * time.Minute

// newHasher returns the hasher of a store. Its decoys depend on the master key, which all replicas have.
func newHasher(ctx context.Context, config Config) (*password.Hasher, error) {
	key, err := hkdf.Key(sha256.New, config.MasterKey, nil, "gatehouse password decoys v1", sha256.Size)
	if err != nil {
		return nil, err
	}
	return password.New(ctx, password.Config{
		Params: config.Password, Cores: config.HashingCores, Memory: config.memoryLimit(), DecoyKey: key,
	})
}

// followHashes samples the hashes of accounts until ctx ends.
func (s *Service) followHashes(ctx context.Context) {
	ticker := time.NewTicker(hashSampleInterval)
	defer ticker.Stop()
	for {
		if err := s.sampleHashes(ctx); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "sampling password hashes failed, will retry", "error", err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// sampleHashes makes log-ins without an account cost what those of the accounts do. All replicas take the same sample,
// so that an address has the same decoy everywhere.
func (s *Service) sampleHashes(ctx context.Context) error {
	sample, err := s.storage.SamplePasswordHashes(ctx)
	if err == nil {
		s.hasher.SampleHashes(sample)
	}
	return err
}

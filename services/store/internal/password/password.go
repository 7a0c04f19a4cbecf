// Package password hashes and verifies passwords, and bounds how much of that work is under way.
package password

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strings"

	"github.com/go-crypt/crypt/algorithm/argon2"
	"golang.org/x/text/unicode/norm"

	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/internal/shares"
)

// Params are the cost parameters of Argon2id (RFC 9106, section 3.1).
type Params struct {
	MemoryKiB   uint32 // m, from 8 × Parallelism KiB
	Iterations  int    // t, from 1
	Parallelism int    // p, from 1
}

// DefaultParams is the second of the equally strong configurations that the OWASP Password Storage Cheat Sheet lists.
func DefaultParams() Params { return Params{MemoryKiB: 19456, Iterations: 2, Parallelism: 1} }

// Validate rejects less memory than any configuration of the OWASP list has (7168 KiB, with 5 passes), and what would
// let one log-in take the machine: over 1 GiB, 64 passes or 16 lanes.
func (p Params) Validate() error {
	var problems []error
	if p.MemoryKiB < 7168 || p.MemoryKiB > 1<<20 {
		problems = append(problems, fmt.Errorf("argon2 memory is %d KiB, not 7168 to 1048576", p.MemoryKiB))
	}
	if p.Iterations < 1 || p.Iterations > 64 {
		problems = append(problems, fmt.Errorf("argon2 iterations are %d, not 1 to 64", p.Iterations))
	}
	if p.Parallelism < 1 || p.Parallelism > 16 {
		problems = append(problems, fmt.Errorf("argon2 parallelism is %d, not 1 to 16", p.Parallelism))
	}
	return errors.Join(problems...)
}

// Hasher hashes and verifies. At most one hash per core is computed at a time; a bounded number of calls waits, in fair
// shares among clients (shares.Key), and those that would wait for too long are rejected with an OverloadedError. All
// hashes that are computed at a time take no more memory together than MaxHashMemory. It is safe for concurrent use.
//
// Hashes that are not of the current parameters may cost many times what these do, and a client that knows an address
// can have them verified: they get half of the cores at most, and wait for them in a queue of their own.
type Hasher struct {
	argon2   *argon2.Hasher
	bytes    int64 // that a hash of the current parameters takes
	cores    *queue
	outdated *queue // for the cores that may verify outdated hashes
	current  string // how every hash of the current parameters begins
	decoys   decoys
}

// Config is what a Hasher needs.
type Config struct {
	Params Params
	Cores  int   // that compute hashes at a time; 0 is GOMAXPROCS
	Memory int64 // that the process may use, in bytes; 0 is MemoryLimit

	DecoyKey []byte // secret by which addresses without an account get their decoys; all replicas must have the same
}

// New returns a Hasher. It computes one hash. It reports an error if the process may not use as much memory as hashes
// of the parameters take.
func New(ctx context.Context, config Config) (*Hasher, error) {
	params, cores := config.Params, config.Cores
	limit := cmp.Or(config.Memory, MemoryLimit())
	if err := errors.Join(params.Validate(), params.ValidateMemory(cores, limit)); err != nil {
		return nil, err
	}
	hasher, err := argon2.New(
		argon2.WithVariant(argon2.VariantID),
		argon2.WithM(params.MemoryKiB), argon2.WithT(params.Iterations), argon2.WithP(params.Parallelism),
	)
	if err != nil {
		return nil, fmt.Errorf("set up argon2: %w", err)
	}
	if cores == 0 {
		cores = runtime.GOMAXPROCS(0)
	}
	h := &Hasher{
		argon2: hasher, bytes: params.bytes(),
		cores: newQueue(cores, MaxHashMemory(limit)), outdated: newQueue(max(1, cores/2), unlimited),
	}
	decoy, err := h.Hash(ctx, "decoy")
	if err != nil {
		return nil, err
	}
	h.current = decoy[:strings.LastIndex(decoy[:strings.LastIndex(decoy, "$")], "$")+1]
	h.decoys.key, h.decoys.current = config.DecoyKey, decoy
	return h, nil
}

// Computed returns how many hashes were computed.
func (h *Hasher) Computed() uint64 { return h.cores.finished.Load() }

// Admit reports an error if Hash and Verify would reject a call that comes now, so that a caller need not read first
// what it would throw away. Without an error, they may reject it yet.
func (h *Hasher) Admit(ctx context.Context) error { return h.cores.admit(ctx, clientKey(ctx)) }

// Hash returns the PHC string of a new random salt and the password. It waits for a core, and fails with an
// OverloadedError if that would come too late for any caller, or for the deadline of ctx.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	release, err := h.cores.acquire(ctx, clientKey(ctx), h.bytes)
	if err != nil {
		return "", err
	}
	defer release()
	digest, err := h.argon2.Hash(normalize(password))
	if err != nil {
		return "", fmt.Errorf("hash a password: %w", err)
	}
	return digest.Encode(), nil
}

// Verify reports whether the password is the one that was hashed: in the form that we hash, or, where that differs, as
// it is given, which is what others mostly hash. It waits and fails as Hash does. A hash that Check rejects fails as
// there, except that one of ours may take the time that the settings allow.
func (h *Hasher) Verify(ctx context.Context, hash, password string) (bool, error) {
	stored, err := decodeStored(hash)
	if err == nil {
		err = stored.checkMemory(h.cores.memory)
	}
	if err != nil {
		return false, fmt.Errorf("read a password hash: %w", err)
	}
	if h.Outdated(hash) {
		release, err := h.outdated.acquire(ctx, clientKey(ctx), 0)
		if err != nil {
			return false, err
		}
		defer release()
	}
	release, err := h.cores.acquire(ctx, clientKey(ctx), stored.memory)
	if err != nil {
		return false, err
	}
	defer release()
	matches, err := stored.matchesEither(password)
	if err != nil {
		return false, fmt.Errorf("verify a password: %w", err)
	}
	return matches, nil
}

// Outdated reports whether a hash is another than Hash would make now: of another kind, or with other parameters.
func (h *Hasher) Outdated(hash string) bool { return !strings.HasPrefix(hash, h.current) }

// VerifyDummy runs as long as Verify does for the hash of an account, for an address that has none. The address is
// given in canonical form. Whether the password matches does not matter: there is no account to open.
func (h *Hasher) VerifyDummy(ctx context.Context, email, password string) error {
	_, err := h.Verify(ctx, h.Decoy(email), password)
	if errors.Is(err, ErrHashTooCostly) {
		_, err = h.Verify(ctx, h.decoys.current, password)
	}
	return err
}

// Decoy returns the hash that VerifyDummy verifies against.
func (h *Hasher) Decoy(email string) string { return h.decoys.pick(email) }

// SampleHashes adjusts the decoys to the hashes of a sample of all accounts.
func (h *Hasher) SampleHashes(sample []string) {
	h.decoys.set(sample, func(hash string) bool { return !h.Outdated(hash) })
}

// clientKey returns the key of the client that a call is made for. Calls without an address count as one client.
func clientKey(ctx context.Context) shares.Key {
	address, _ := netip.ParseAddr(callctx.ClientFrom(ctx).Address)
	return shares.KeyOf(address)
}

// normalize returns the form that is hashed, so that a password typed on another keyboard is still the same password
// (NIST SP 800-63B, section 3.1.1.2).
func normalize(password string) string { return norm.NFKC.String(password) }

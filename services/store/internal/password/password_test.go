package password_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
)

func newHasher(t *testing.T) *password.Hasher {
	t.Helper()
	hasher, err := password.New(t.Context(), password.Config{Params: password.DefaultParams()})
	if err != nil {
		t.Fatal(err)
	}
	return hasher
}

func TestHashFormat(t *testing.T) {
	hash, err := newHasher(t).Hash(t.Context(), "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash is %q", hash)
	}
}

func TestVerify(t *testing.T) {
	hasher := newHasher(t)
	for _, test := range []struct {
		name, set, given string
		want             bool
	}{
		{"same", "correct horse", "correct horse", true},
		{"other", "correct horse", "correct horsf", false},
		{"longer", "correct horse", "correct horse ", false},
		{"other case", "correct horse", "Correct horse", false},
		{"composed and decomposed", "caf\u00e9 noir", "cafe\u0301 noir", true},
		{"ligature", "o\ufb03ce rules", "office rules", true},
		{"same 1,024 bytes and one more", strings.Repeat("a", 1024), strings.Repeat("a", 1025), false},
		{"differs in the last of 1,024 bytes", strings.Repeat("a", 1024), strings.Repeat("a", 1023) + "b", false},
		{"NUL does not end it", "before\x00after", "before\x00other", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			hash, err := hasher.Hash(t.Context(), test.set)
			if err != nil {
				t.Fatal(err)
			}
			got, err := hasher.Verify(t.Context(), hash, test.given)
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("Verify = %v, want %v", got, test.want)
			}
		})
	}
}

func TestVerifyInvalidHash(t *testing.T) {
	for _, phc := range []string{"", "plain", "$argon2id$", "$2b$10$abcdefghijklmnopqrstuv"} {
		if matches, err := newHasher(t).Verify(t.Context(), phc, "plain"); err == nil || matches {
			t.Errorf("Verify(%q) = %v, %v", phc, matches, err)
		}
	}
}

func TestHashCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	hasher := newHasher(t)
	// With a free core and a context that is done, either branch may win; over many tries both do.
	for range 20 {
		if _, err := hasher.Verify(ctx, "", ""); err == nil {
			t.Fatal("no error")
		}
	}
}

func TestHashQueueFull(t *testing.T) {
	hasher := newHasher(t)
	const calls = 2000 // More than any machine's queue under test takes at once.
	results := make(chan error, calls)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	for range calls {
		go func() {
			_, err := hasher.Hash(ctx, "correct horse")
			if err != nil {
				cancel() // One refusal is enough: the calls that wait can end.
			}
			results <- err
		}()
	}
	overloaded := 0
	for range calls {
		if _, ok := errors.AsType[*password.OverloadedError](<-results); ok {
			overloaded++
		}
	}
	if overloaded == 0 {
		t.Error("no call was refused as overload")
	}
}

func TestParamsBounds(t *testing.T) {
	for _, params := range []password.Params{
		{MemoryKiB: 1024, Iterations: 2, Parallelism: 1},
		{MemoryKiB: 2 << 20, Iterations: 2, Parallelism: 1},
		{MemoryKiB: 19456, Iterations: 0, Parallelism: 1},
		{MemoryKiB: 19456, Iterations: 2, Parallelism: 99},
	} {
		if _, err := password.New(t.Context(), password.Config{Params: params}); err == nil {
			t.Errorf("%+v is accepted", params)
		}
	}
}

package password

import (
	"errors"
	"runtime/debug"
	"strings"
	"testing"
)

func TestMemoryLimit(t *testing.T) {
	before := MemoryLimit()
	if before <= 0 || before == unlimited {
		t.Errorf("the limit is %d, though the machine has a bounded memory", before)
	}
	const ours = 64 << 20
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(ours))
	if got := MemoryLimit(); got != ours {
		t.Errorf("with GOMEMLIMIT the limit is %d", got)
	}
}

func TestValidateMemory(t *testing.T) {
	for _, test := range []struct {
		name  string
		kib   uint32
		cores int
		limit int64
		want  bool
	}{
		{"all cores have room", 32 << 10, 4, 128 << 20, true},
		{"all cores together take more than there is", 32 << 10, 5, 128<<20 + 1, false},
		{"one hash takes more than hashes may", 32<<10 + 1, 1, 128 << 20, false},
		{"all settings that are allowed", 1 << 20, 1, 4 << 30, true},
		{"a number that would overflow 32 bits", 1 << 20, 64, 32 << 30, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			params := Params{MemoryKiB: test.kib, Iterations: 1, Parallelism: 1}
			if err := params.ValidateMemory(test.cores, test.limit); (err == nil) != test.want {
				t.Error(err)
			}
			if params.Validate() != nil {
				t.Fatal("the parameters are refused for another reason")
			}
			if test.kib < 64<<10 {
				_, err := New(t.Context(), Config{Params: params, Cores: test.cores, Memory: test.limit})
				if (err == nil) != test.want {
					t.Errorf("New: %v", err)
				}
			}
		})
	}
}

// TestHashMemory checks that the memory of a hash is read from its parameters and bounded by the memory of the process.
func TestHashMemory(t *testing.T) {
	for _, test := range []struct {
		hash string
		mib  int64
	}{
		{filled("$argon2id$v=19$m=65536,t=3,p=1", 16, 32), 64},
		{filled("$argon2i$v=19$m=65536,t=3,p=1", 16, 32), 64},
		{filled("$scrypt$ln=16,r=8,p=1", 16, 32), 64},
		{filled("$scrypt$ln=15,r=16,p=1", 16, 32), 64},
		{filled("$scrypt$ln=16,r=8,p=2", 16, 32), 64},
	} {
		t.Run(test.hash[:strings.LastIndex(test.hash, "p=")+3], func(t *testing.T) {
			if err := Check(test.hash, test.mib<<20); err != nil {
				t.Error(err)
			}
			if err := Check(test.hash, test.mib<<20-1); !errors.Is(err, ErrHashTooCostly) {
				t.Errorf("with a byte less: %v", err)
			}
			hasher, err := New(t.Context(), Config{
				Params: Params{MemoryKiB: 7168, Iterations: 1, Parallelism: 1}, Cores: 2, Memory: 4*test.mib<<20 - 4,
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := hasher.Verify(t.Context(), test.hash, "correct horse"); !errors.Is(err, ErrHashTooCostly) {
				t.Errorf("Verify: %v", err)
			}
			if hasher.cores.memory != test.mib<<20-1 {
				t.Errorf("all hashes together may take %d bytes", hasher.cores.memory)
			}
		})
	}
	t.Run("one_of_ours_with_other_parameters", func(t *testing.T) {
		hash := filled("$argon2id$v=19$m=1048576,t=4,p=1", 16, 32)
		stored, err := decodeStored(hash)
		if err != nil || stored.memory != 1<<30 {
			t.Errorf("memory is %d, %v", stored.memory, err)
		}
	})
}

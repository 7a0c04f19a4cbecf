package password

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

const horse = "correct horse"

// decomposed is a password whose normal form has other bytes.
const decomposed = "cafe\u0301 noir"

// foreign are hashes that other programs made: argon2, mkpasswd, htpasswd and Node's crypto module.
var foreign = []struct{ name, password, hash string }{
	{"argon2i", horse, "$argon2i$v=19$m=256,t=2,p=2$c2FsdHNhbHRzYWx0$i43cFd3AUbQ6WmfTkREEApwg13pFfrle"},
	{"argon2d", horse, "$argon2d$v=19$m=256,t=2,p=2$c2FsdHNhbHRzYWx0$T3APKYeUgZ7kzh924KDP79I6OmNCS638"},
	{"argon2id", horse, "$argon2id$v=19$m=256,t=2,p=2$c2FsdHNhbHRzYWx0$s66QLdse1TQ65NpRSvyUct3Vdg3U61ih"},
	{"argon2id of bytes", decomposed, "$argon2id$v=19$m=256,t=2,p=1$c2FsdHNhbHRzYWx0$5aVwqJMnxfyhpepJ8ZSYqi+DqG8PmokeE4QUpiz/9XQ"},
	{"bcrypt 2a", horse, "$2a$05$SaurHIfvavbNguWK5pBpvO/fjXQp2JihoMcVrNxbcJAdCOULzbD5O"},
	{"bcrypt 2b", horse, "$2b$05$y86VZWR3G/x1TKY2k7IqYeJxesjm/RxqHZu/3rcM6AuZmsvqbQ0Qm"},
	{"bcrypt 2y", horse, "$2y$05$CJJFwixPFJLIvkeWI/U41.bWQgNKOyQjzX0Yzsuizdck1nhrgaFbS"},
	{"bcrypt of 72 bytes", strings.Repeat("a", 72), "$2y$05$RMEag7CeodoCXjdYG1ZKqezBFmSW282ZVL91apXemnU8tS5rAzuca"},
	{"bcrypt of 72 bytes and more", strings.Repeat("a", 72) + "b", "$2y$05$RMEag7CeodoCXjdYG1ZKqezBFmSW282ZVL91apXemnU8tS5rAzuca"},
	{"bcrypt of bytes", decomposed, "$2b$05$KzVrrxHi6ifx1uuUCfQ74u1tqs.Ty2ATfYGVcPU9AUfjoa3NvKE.q"},
	{"scrypt", horse, "$scrypt$ln=4,r=8,p=2$c2FsdHNhbHRzYWx0c2FsPg$0i7SXk9Ct0kOiFHHTeTMXxDzTyNuM9mCK9khLPf5//4"},
	{"scrypt of bytes", decomposed, "$scrypt$ln=4,r=8,p=2$c2FsdHNhbHRzYWx0c2FsPg$bA3OIfEmAy7Z53ReNyMif8DGuyO3fewoVGj2iq4j4+Q"},
	{"PBKDF2 with SHA-1", horse, "$pbkdf2$1000$c2FsdHNhbHRzYWx0c2FsPg$ODcgTSAXjpxK8qTv0IX0eSlxggU"},
	{"PBKDF2 with SHA-256", horse, "$pbkdf2-sha256$1000$c2FsdHNhbHRzYWx0c2FsPg$NMGsMzsj6O20GfdIKP8QeDT7AXG5cV3nW2TKNuSpOho"},
	{"PBKDF2 with SHA-512", horse, "$pbkdf2-sha512$1000$c2FsdHNhbHRzYWx0c2FsPg$fbvbgVrMQAha4/2G.KCOAewppsvIN/GoxL45DMoPsyQqeC/A/iLRP1bspKgLyb7DjzKvPAOBtHKscrPk.nkaMw"},
	{"PBKDF2 of bytes", decomposed, "$pbkdf2$1000$c2FsdHNhbHRzYWx0c2FsPg$24EKJZJiU2JcpRc1lhavb2tMjyQ"},
	{"SHA-512-crypt", horse, "$6$rounds=1000$xoBxptO1skot63lh$5dtT6zRgf2ikgccVA8XJM95chVAEJX85Y67ZgYcIKGH0r/19kytOnkWYp.BsCoZMlcf9qMbNDmLqgSx3rOQsD0"},
	{"SHA-512-crypt of bytes", decomposed, "$6$rounds=1000$799pJmUeLZVcCfde$tysqjkbQ96xB1nS.UUUtLiOZNQeqWne/MpJkgENkaWMFx0NoHaI9uqtC2EJXr7NqZN6Iaaz/cHwx5onLhXlck1"},
	// The example of Drepper's specification, with the 5,000 rounds that are not written.
	{"SHA-512-crypt without rounds", "Hello world!", "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"},
}

func cheapHasher(t *testing.T) *Hasher {
	t.Helper()
	hasher, err := New(t.Context(), Config{Params: Params{MemoryKiB: 7168, Iterations: 1, Parallelism: 1}})
	if err != nil {
		t.Fatal(err)
	}
	return hasher
}

func TestVerifyForeignHashes(t *testing.T) {
	hasher := cheapHasher(t)
	for _, test := range foreign {
		t.Run(test.name, func(t *testing.T) {
			if err := Check(test.hash, unlimited); err != nil {
				t.Fatal(err)
			}
			for password, want := range map[string]bool{test.password: true, "X" + test.password[1:]: false} {
				if matches, err := hasher.Verify(t.Context(), test.hash, password); err != nil || matches != want {
					t.Errorf("Verify(%q) = %v, %v", password, matches, err)
				}
			}
			if !hasher.Outdated(test.hash) {
				t.Error("it passes for one of ours")
			}
		})
	}
}

// TestVerifyNormalForms checks that the same letters in other bytes are the same password.
func TestVerifyNormalForms(t *testing.T) {
	hasher := cheapHasher(t)
	ours, err := hasher.Hash(t.Context(), decomposed)
	if err != nil {
		t.Fatal(err)
	}
	for _, typed := range []string{decomposed, "caf\u00e9 noir"} {
		if matches, err := hasher.Verify(t.Context(), ours, typed); err != nil || !matches {
			t.Errorf("Verify(%q) = %v, %v", typed, matches, err)
		}
	}
}

func TestOutdated(t *testing.T) {
	cheap := cheapHasher(t)
	hash, err := cheap.Hash(t.Context(), horse)
	if err != nil {
		t.Fatal(err)
	}
	if cheap.Outdated(hash) {
		t.Error("a hash is outdated as soon as it is made")
	}
	for _, params := range []Params{
		{MemoryKiB: 7168, Iterations: 2, Parallelism: 1},
		{MemoryKiB: 7680, Iterations: 1, Parallelism: 1},
		{MemoryKiB: 7168, Iterations: 1, Parallelism: 2},
		{MemoryKiB: 7168, Iterations: 11, Parallelism: 1},
	} {
		hasher, err := New(t.Context(), Config{Params: params})
		if err != nil {
			t.Fatal(err)
		}
		if !hasher.Outdated(hash) {
			t.Errorf("the hash is not outdated for %+v", params)
		}
	}
}

// filled appends a salt and a digest of so many bytes to the parameters.
func filled(parameters string, salt, digest int) string {
	encoded := func(n int) string { return strings.Repeat("A", (n*8+5)/6) }
	return parameters + "$" + encoded(salt) + "$" + encoded(digest)
}

var refused = []struct {
	name, hash string
	want       error
}{
	{"nothing", "", ErrUnknownHash},
	{"plain text", "plain", ErrUnknownHash},
	{"MD5", "$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/", ErrUnknownHash},
	{"SHA-256-crypt", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8", ErrUnknownHash},
	{"yescrypt", "$y$j9T$aaaa$bbbb", ErrUnknownHash},
	{"bcrypt with the fault of 2x", "$2x$05$" + strings.Repeat("a", 53), ErrUnknownHash},
	{"bcrypt with SHA-256", "$bcrypt-sha256$v=2,t=2b,r=10$" + strings.Repeat("a", 22) + "$" + strings.Repeat("a", 31), ErrUnknownHash},
	{"Argon2 before version 19", filled("$argon2i$v=16$m=256,t=2,p=2", 16, 32), ErrUnknownHash},
	{"Argon2 without a version", filled("$argon2i$m=256,t=2,p=2", 16, 32), ErrUnknownHash},
	{"the plain text of the library", "$plaintext$secret", ErrUnknownHash},

	{"Argon2 with a key", filled("$argon2id$v=19$m=256,t=2,p=2,keyid=c2VjcmV0", 16, 32), ErrHashPeppered},
	{"Argon2 with associated data", filled("$argon2i$v=19$m=256,t=2,p=2,data=c2VjcmV0", 16, 32), ErrHashPeppered},
	{"Firebase's scrypt as Kratos writes it", "$firescrypt$ln=14,r=8,p=1$aaaa$aaaa$aaaa$aaaa", ErrHashPeppered},
	{"Firebase's scrypt as Supabase writes it", "$fbscrypt$v=1,n=14,r=8,p=1,ss=aaaa,sk=aaaa$aaaa$aaaa", ErrHashPeppered},
	{"an HMAC", "$hmac-sha256$aaaa$aaaa", ErrHashPeppered},
	{"phpass", "$P$B" + strings.Repeat("a", 30), ErrUnknownHash},

	{"WordPress that is cut off", "$wp$2y$05$" + strings.Repeat("a", 52), ErrHashMalformed},
	{"WordPress that is too costly", "$wp$2y$15$" + strings.Repeat("a", 53), ErrHashTooCostly},
	{"Django's bcrypt that is too costly", "bcrypt_sha256$$2b$15$" + strings.Repeat("a", 53), ErrHashTooCostly},
	{"bcrypt that is cut off", "$2b$05$" + strings.Repeat("a", 52), ErrHashMalformed},
	{"bcrypt that goes on", "$2b$05$" + strings.Repeat("a", 54), ErrHashMalformed},
	{"bcrypt with a line break", "$2b$05$" + strings.Repeat("a", 53) + "\n", ErrHashMalformed},
	{"bcrypt with a cost of one digit", "$2b$5$" + strings.Repeat("a", 53), ErrHashMalformed},
	{"bcrypt below the least cost", "$2b$03$" + strings.Repeat("a", 53), ErrHashMalformed},
	{"bcrypt beyond the highest cost", "$2b$32$" + strings.Repeat("a", 53), ErrHashMalformed},
	{"bcrypt that is too costly", "$2b$15$" + strings.Repeat("a", 53), ErrHashTooCostly},

	{"Argon2 without parameters", "$argon2id$v=19$", ErrHashMalformed},
	{"Argon2 with a sign", filled("$argon2id$v=19$m=+256,t=2,p=2", 16, 32), ErrHashMalformed},
	{"Argon2 with no passes", filled("$argon2id$v=19$m=256,t=0,p=2", 16, 32), ErrHashMalformed},
	{"Argon2 with a parameter twice", filled("$argon2id$v=19$m=256,m=256,t=2,p=2", 16, 32), ErrHashMalformed},
	{"Argon2 in another order", filled("$argon2id$v=19$t=2,m=256,p=2", 16, 32), ErrHashMalformed},
	{"Argon2 with too little memory", filled("$argon2id$v=19$m=15,t=2,p=2", 16, 32), ErrHashMalformed},
	{"Argon2 with a short salt", filled("$argon2id$v=19$m=256,t=2,p=2", 7, 32), ErrHashMalformed},
	{"Argon2 with a long salt", filled("$argon2id$v=19$m=256,t=2,p=2", 65, 32), ErrHashMalformed},
	{"Argon2 with a short digest", filled("$argon2id$v=19$m=256,t=2,p=2", 16, 15), ErrHashMalformed},
	{"Argon2 with a long digest", filled("$argon2id$v=19$m=256,t=2,p=2", 16, 65), ErrHashMalformed},
	{"Argon2 with padding", filled("$argon2id$v=19$m=256,t=2,p=2", 16, 32) + "=", ErrHashMalformed},
	{"Argon2 with bits that are nowhere", filled("$argon2id$v=19$m=256,t=2,p=2", 16, 31) + "B", ErrHashMalformed},
	{"Argon2 with 4 TiB", filled("$argon2id$v=19$m=4294967295,t=1,p=1", 16, 32), ErrHashTooCostly},
	{"Argon2 with more than a number", filled("$argon2id$v=19$m=99999999999999999,t=1,p=1", 16, 32), ErrHashTooCostly},
	{"Argon2 with more memory", filled("$argon2i$v=19$m=262145,t=1,p=1", 16, 32), ErrHashTooCostly},
	{"Argon2 with more passes", filled("$argon2d$v=19$m=262144,t=4,p=1", 16, 32), ErrHashTooCostly},
	{"Argon2 with passes over nothing", filled("$argon2i$v=19$m=8,t=1001,p=1", 16, 32), ErrHashTooCostly},
	{"Argon2 with more lanes", filled("$argon2id$v=19$m=256,t=1,p=17", 16, 32), ErrHashTooCostly},

	{"scrypt with N itself", filled("$scrypt$n=16384,r=8,p=1", 16, 32), ErrHashMalformed},
	{"scrypt with a short digest", filled("$scrypt$ln=14,r=8,p=1", 16, 15), ErrHashMalformed},
	{"scrypt with N beyond numbers", filled("$scrypt$ln=63,r=8,p=1", 16, 32), ErrHashTooCostly},
	{"scrypt with N beyond numbers twice", filled("$scrypt$ln=64,r=32,p=16", 16, 32), ErrHashTooCostly},
	{"scrypt with more memory", filled("$scrypt$ln=19,r=8,p=1", 16, 32), ErrHashTooCostly},
	{"scrypt with more lanes", filled("$scrypt$ln=4,r=8,p=17", 16, 32), ErrHashTooCostly},
	{"scrypt with more blocks", filled("$scrypt$ln=4,r=1073741824,p=1", 16, 32), ErrHashTooCostly},
	{"scrypt that takes too long", filled("$scrypt$ln=18,r=8,p=2", 16, 32), ErrHashTooCostly},

	{"PBKDF2 without rounds", filled("$pbkdf2$0", 16, 20), ErrHashMalformed},
	{"PBKDF2 with a longer digest than SHA-1 has", filled("$pbkdf2$1000", 16, 21), ErrHashMalformed},
	{"PBKDF2 with a longer digest than SHA-256 has", filled("$pbkdf2-sha256$1000", 16, 33), ErrHashMalformed},
	{"PBKDF2 in ordinary base64", filled("$pbkdf2$1000", 16, 16) + "+++", ErrHashMalformed},
	{"PBKDF2 with SHA-1, too many rounds", filled("$pbkdf2$2000001", 16, 20), ErrHashTooCostly},
	{"PBKDF2 with SHA-256, too many rounds", filled("$pbkdf2-sha256$2000001", 16, 32), ErrHashTooCostly},
	{"PBKDF2 with SHA-512, too many rounds", filled("$pbkdf2-sha512$1000001", 16, 64), ErrHashTooCostly},

	{"SHA-512-crypt that is cut off", "$6$rounds=1000$salt$" + strings.Repeat("a", 85), ErrHashMalformed},
	{"SHA-512-crypt with a long salt", "$6$rounds=1000$saltsaltsaltsalts$" + strings.Repeat("a", 86), ErrHashMalformed},
	{"SHA-512-crypt with too few rounds", "$6$rounds=999$salt$" + strings.Repeat("a", 86), ErrHashMalformed},
	{"SHA-512-crypt with too many rounds", "$6$rounds=1000001$salt$" + strings.Repeat("a", 86), ErrHashTooCostly},

	{"what does not fit into the column", filled("$argon2id$v=19$m=256,t=2,p=2", 16, 400), ErrHashMalformed},
}

func TestCheckRejects(t *testing.T) {
	hasher := cheapHasher(t)
	for _, test := range refused {
		t.Run(test.name, func(t *testing.T) {
			err := Check(test.hash, unlimited)
			if !errors.Is(err, test.want) {
				t.Fatalf("error is %v, want %v", err, test.want)
			}
			if regexp.MustCompile("(?i)aaaa|\n|=.*=|secret").MatchString(err.Error()) {
				t.Errorf("the error repeats the hash, or has several lines: %v", err)
			}
			if matches, err := hasher.Verify(t.Context(), test.hash, horse); !errors.Is(err, test.want) || matches {
				t.Errorf("Verify = %v, %v", matches, err)
			}
		})
	}
}

func TestCheckBounds(t *testing.T) {
	for _, hash := range []string{
		"$2b$14$" + strings.Repeat("a", 53), filled("$argon2id$v=19$m=262144,t=3,p=16", 64, 64),
		filled("$argon2i$v=19$m=8,t=1000,p=1", 8, 16), filled("$scrypt$ln=18,r=8,p=1", 64, 64),
		filled("$scrypt$ln=21,r=1,p=1", 1, 16), filled("$pbkdf2$2000000", 64, 20), filled("$pbkdf2-sha256$2000000", 64, 32),
		filled("$pbkdf2-sha512$1000000", 64, 64), "$6$rounds=1000000$saltsaltsaltsalt$" + strings.Repeat("a", 86),
	} {
		if err := Check(hash, unlimited); err != nil {
			t.Errorf("%.40s: %v", hash, err)
		}
	}
}

// TestDecodeStoredOwnHash checks that the settings allow costlier hashes than an import does.
func TestDecodeStoredOwnHash(t *testing.T) {
	for hash, want := range map[string]error{
		filled("$argon2id$v=19$m=1048576,t=64,p=16", 16, 32): nil,
		filled("$argon2id$v=19$m=1048577,t=64,p=16", 16, 32): ErrHashTooCostly,
		filled("$argon2id$v=19$m=1048576,t=65,p=16", 16, 32): ErrHashTooCostly,
		filled("$argon2i$v=19$m=1048576,t=64,p=16", 16, 32):  ErrHashTooCostly,
	} {
		if _, err := decodeStored(hash); !errors.Is(err, want) {
			t.Errorf("%.40s: %v", hash, err)
		}
		if err := Check(hash, unlimited); !errors.Is(err, ErrHashTooCostly) {
			t.Errorf("%.40s: Check says %v", hash, err)
		}
	}
}

// TestSHA512CryptLongPassword checks the bound on the password's length: each round hashes the password again.
func TestSHA512CryptLongPassword(t *testing.T) {
	for rounds, longest := range map[int]int{1_000_000: 150, 656_000: 228, 100_000: 1500} {
		stored, err := decode(fmt.Sprintf("$6$rounds=%d$salt$%s", rounds, strings.Repeat("a", 86)))
		if err != nil || stored.longest != longest {
			t.Errorf("with %d rounds the longest is %d, %v", rounds, stored.longest, err)
		}
	}
	short, err := decode("$6$rounds=1000$xoBxptO1skot63lh$5dtT6zRgf2ikgccVA8XJM95chVAEJX85Y67ZgYcIKGH0r/19kytOnkWYp.BsCoZMlcf9qMbNDmLqgSx3rOQsD0")
	if err != nil {
		t.Fatal(err)
	}
	short.longest = len(horse)
	for password, want := range map[string]bool{horse: true, horse + "!": false} {
		if matches, err := short.matches(password); err != nil || matches != want {
			t.Errorf("matches(%q) = %v, %v", password, matches, err)
		}
	}
}

// FuzzCheck looks for a hash that is let through and cannot be verified.
func FuzzCheck(f *testing.F) {
	for _, test := range foreign {
		f.Add(test.hash)
	}
	for _, test := range refused {
		f.Add(test.hash)
	}
	f.Fuzz(func(t *testing.T, hash string) {
		err := Check(hash, unlimited)
		if err == nil {
			stored, err := decode(hash)
			if err != nil || len(hash) > maxHash || len(stored.digest.Key()) < minDigest {
				t.Errorf("%q is let through: %v", hash, err)
			}
			return
		}
		if !errors.Is(err, ErrUnknownHash) && !errors.Is(err, ErrHashPeppered) && !errors.Is(err, ErrHashMalformed) && !errors.Is(err, ErrHashTooCostly) {
			t.Errorf("%q: %v", hash, err)
		}
	})
}

package password

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/pbkdf2"
	"github.com/go-crypt/crypt/algorithm/scrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

var (
	// ErrUnknownHash is a hash of a kind that is not verified.
	ErrUnknownHash = errors.New("the password hash is of no kind that is known")
	// ErrHashPeppered is a hash that takes a pepper of the system which made it, as the hash itself says: no password
	// would match it here. Most hashes with a pepper do not say so.
	ErrHashPeppered = errors.New("the password hash takes a key or pepper of the system that made it")
	// ErrHashMalformed is a hash that nobody makes: no password would match it.
	ErrHashMalformed = errors.New("the password hash is malformed")
	// ErrHashTooCostly is a hash that takes too long, or too much memory, to verify a password against.
	ErrHashTooCostly = errors.New("the password hash is too costly to verify")
)

// maxHash bounds a hash, in bytes. It is the width of the column.
const maxHash = 512

// The most that verifying may cost. One that is as costly as allowed takes about a second of one core (2026, a rented
// server with AES and SHA instructions), and twice that for a wrong password which is not in normal form; the times are
// those of the bound itself. There is no least cost: hashes that
// are too weak are what people come from, and each becomes one of ours when its owner logs in.
const (
	maxBcryptCost = 14 // 1.2 s; 13 takes 0.6 s

	maxArgon2MemoryKiB = 256 << 10
	maxArgon2Work      = 3 * maxArgon2MemoryKiB // KiB times passes: 0.9 s with one lane, 1.1 s with sixteen
	maxArgon2Passes    = 1000                   // each stops for all lanes four times, which little memory does not hide
	maxArgon2Lanes     = 16

	maxScryptWork  = 1 << 21 // N times r times p: 1.0 s with ln=18,r=8,p=1, whose 256 MiB are the most there can be
	maxScryptBlock = 32      // r
	maxScryptLanes = 16      // p

	maxPBKDF2SHA1   = 2_000_000 // 0.5 s
	maxPBKDF2SHA256 = 2_000_000 // 0.4 s, and twice that without SHA instructions
	maxPBKDF2SHA512 = 1_000_000 // 0.9 s

	maxSHACryptRounds = 1_000_000 // 0.6 s for a password of 13 bytes
	// maxSHACryptWork bounds rounds times bytes of the password, which is hashed again in every round: 1.2 s. A million
	// rounds over 1,024 bytes would take 5 s.
	maxSHACryptWork = 150 * maxSHACryptRounds

	maxSalt   = 64 // bytes
	minDigest = 16 // bytes; who guesses at fewer hits by chance
	maxDigest = 64 // bytes
)

// The forms that the makers of each kind write. Numbers have no sign and no leading zeros.
var (
	bcryptForm       = regexp.MustCompile(`^\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)
	wordPressForm    = regexp.MustCompile(`^\$wp\$2y\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)
	djangoBcryptForm = regexp.MustCompile(`^bcrypt_sha256\$\$2[aby]\$([0-9]{2})\$[./A-Za-z0-9]{53}$`)
	argon2Form       = regexp.MustCompile(`^\$argon2(?:id|i|d)\$v=19\$m=([1-9][0-9]{0,17}),t=([1-9][0-9]{0,17}),` +
		`p=([1-9][0-9]{0,17})\$([+/A-Za-z0-9]+)\$([+/A-Za-z0-9]+)$`)
	scryptForm = regexp.MustCompile(`^\$scrypt\$ln=([1-9][0-9]{0,17}),r=([1-9][0-9]{0,17}),p=([1-9][0-9]{0,17})` +
		`\$([+/A-Za-z0-9]+)\$([+/A-Za-z0-9]+)$`)
	pbkdf2Form = regexp.MustCompile(`^\$pbkdf2(|-sha256|-sha512)\$([1-9][0-9]{0,17})\$([./A-Za-z0-9]+)\$([./A-Za-z0-9]+)$`)
	sha512Form = regexp.MustCompile(`^\$6\$(?:rounds=([1-9][0-9]{0,17})\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{86}$`)
)

// pepperedForm is what says of a hash that it takes a secret: the PHC string of Argon2 that names a key or associated
// data, Firebase's scrypt in the spellings of Kratos and of Supabase, and an HMAC.
var pepperedForm = regexp.MustCompile(
	`^\$argon2(?:id|i|d)\$.*[,$](?:keyid|data)=|^\$(?:firescrypt|fbscrypt|hmac-[a-z0-9]+)\$`)

// scheme is a kind of hash.
type scheme struct {
	prefix string
	form   *regexp.Regexp
	// check looks at what form found in the parentheses: whether it is possible, and within the bounds.
	check  func(found []string) (cost, error)
	decode func(hash string) (algorithm.Digest, error)
}

// cost is what verifying takes, beyond a time that check bounds.
type cost struct {
	longest int   // password that does not cost too much, in bytes; 0 for any
	memory  int64 // bytes
}

// schemes are those that are verified. The decoders are lenient, and what they give may cost anything: they get only
// what form and check let through.
func schemes() []scheme {
	return []scheme{
		{"$argon2id$v=19$", argon2Form, checkArgon2, argon2.Decode},
		{"$argon2i$v=19$", argon2Form, checkArgon2, argon2.Decode},
		{"$argon2d$v=19$", argon2Form, checkArgon2, argon2.Decode},
		{"$2a$", bcryptForm, checkBcrypt, bcrypt.Decode},
		{"$2b$", bcryptForm, checkBcrypt, bcrypt.Decode},
		{"$2y$", bcryptForm, checkBcrypt, bcrypt.Decode},
		{wordPressPrefix + "$2y$", wordPressForm, checkBcrypt, decodeWordPress},
		{djangoPrefix, djangoBcryptForm, checkBcrypt, decodeDjangoBcrypt},
		{"$scrypt$", scryptForm, checkScrypt, scrypt.Decode},
		{"$pbkdf2$", pbkdf2Form, checkPBKDF2, pbkdf2.Decode},
		{"$pbkdf2-sha256$", pbkdf2Form, checkPBKDF2, pbkdf2.Decode},
		{"$pbkdf2-sha512$", pbkdf2Form, checkPBKDF2, pbkdf2.Decode},
		{"$6$", sha512Form, checkSHA512Crypt, shacrypt.Decode},
	}
}

// Check reports whether passwords can be verified against a hash that was made elsewhere, in a process in which hashes
// may take so many bytes of memory. The error is ErrUnknownHash, ErrHashPeppered, ErrHashMalformed or
// ErrHashTooCostly. Nothing is computed, and no error repeats a part of the hash.
func Check(hash string, maxMemory int64) error {
	stored, err := decode(hash)
	if err != nil {
		return err
	}
	return stored.checkMemory(maxMemory)
}

// Matches reports whether the password is the one that was hashed, as Hasher.Verify does, for commands: it waits for no
// turn. Its errors are those of Check.
func Matches(hash, password string, maxMemory int64) (bool, error) {
	stored, err := decode(hash)
	if err == nil {
		err = stored.checkMemory(maxMemory)
	}
	if err != nil {
		return false, err
	}
	return stored.matchesEither(password)
}

// verifier is a hash that is decoded.
type verifier struct {
	digest algorithm.Digest
	cost
}

// checkMemory reports ErrHashTooCostly if verifying takes more memory than that.
func (v verifier) checkMemory(maxMemory int64) error {
	if v.memory > maxMemory {
		return fmt.Errorf("%w: it takes %d MiB of memory, and this process has %d MiB for hashes",
			ErrHashTooCostly, v.memory>>20, maxMemory>>20)
	}
	return nil
}

// matchesEither reports whether the password is the one that was hashed: in the form that we hash or, where that
// differs, as it is given, which is what most other programs hash.
func (v verifier) matchesEither(password string) (bool, error) {
	normal := normalize(password)
	matches, err := v.matches(normal)
	// Hashes of our own kind are compared twice, too: the cost must not reveal the kind of account.
	if err == nil && !matches && normal != password {
		matches, err = v.matches(password)
	}
	return matches, err
}

// matches reports whether the password is the one that was hashed.
func (v verifier) matches(password string) (bool, error) {
	if v.longest == 0 || len(password) <= v.longest {
		return v.digest.MatchAdvanced(password)
	}
	_, err := v.digest.MatchAdvanced(password[:v.longest]) // So that it takes as long as the longest.
	return false, err
}

// decode reads a hash that is within the bounds.
func decode(hash string) (verifier, error) {
	if len(hash) > maxHash {
		return verifier{}, fmt.Errorf("%w: it has more than %d bytes", ErrHashMalformed, maxHash)
	}
	if pepperedForm.MatchString(hash) {
		return verifier{}, ErrHashPeppered
	}
	for _, scheme := range schemes() {
		if !strings.HasPrefix(hash, scheme.prefix) {
			continue
		}
		found := scheme.form.FindStringSubmatch(hash)
		if found == nil {
			return verifier{}, fmt.Errorf("%w: it is not in the form of %s", ErrHashMalformed, scheme.prefix)
		}
		cost, err := scheme.check(found[1:])
		if err != nil {
			return verifier{}, err
		}
		digest, err := scheme.decode(hash)
		if err != nil {
			return verifier{}, ErrHashMalformed // Without the decoder's words: they quote the hash.
		}
		return verifier{digest, cost}, nil
	}
	return verifier{}, ErrUnknownHash
}

// decodeStored reads a hash that was stored: one within the bounds, or one of ours, which may cost as much as the
// settings allow.
func decodeStored(hash string) (verifier, error) {
	stored, err := decode(hash)
	found := argon2Form.FindStringSubmatch(hash)
	if !errors.Is(err, ErrHashTooCostly) || found == nil || !strings.HasPrefix(hash, "$argon2id$") {
		return stored, err
	}
	var values [3]uint64
	for i := range values {
		value, _ := strconv.ParseUint(found[i+1], 10, 31) // 0 if it is no number, or not within 31 bits.
		values[i] = value
	}
	//nolint:gosec // within 31 bits
	params := Params{MemoryKiB: uint32(values[0]), Iterations: int(values[1]), Parallelism: int(values[2])}
	if params.Validate() != nil {
		return verifier{}, err
	}
	digest, err := argon2.Decode(hash)
	if err != nil {
		return verifier{}, ErrHashMalformed
	}
	return verifier{digest, cost{memory: params.bytes()}}, nil
}

func checkBcrypt(found []string) (cost, error) {
	rounds, err := number(found[0])
	if err != nil || rounds < 4 || rounds > 31 { // As all who make them bound it.
		return cost{}, fmt.Errorf("%w: the cost is not 4 to 31", ErrHashMalformed)
	}
	return cost{}, checkMax("the cost", rounds, maxBcryptCost)
}

func checkArgon2(found []string) (cost, error) {
	memory, memoryErr := number(found[0])
	passes, passesErr := number(found[1])
	lanes, lanesErr := number(found[2])
	if err := cmp.Or(memoryErr, passesErr, lanesErr); err != nil {
		return cost{}, err
	}
	// One at a time: the product of numbers within their bounds is a number.
	if err := cmp.Or(checkMax("the memory in KiB", memory, maxArgon2MemoryKiB), checkMax("the passes", passes,
		maxArgon2Passes), checkMax("the lanes", lanes, maxArgon2Lanes)); err != nil {
		return cost{}, err
	}
	if memory < 8*lanes { // RFC 9106, section 3.1
		return cost{}, fmt.Errorf("%w: the memory is less than 8 KiB for each lane", ErrHashMalformed)
	}
	takes := cost{memory: int64(memory) << 10} //nolint:gosec // at most maxArgon2MemoryKiB
	return takes, cmp.Or(checkMax("the memory in KiB times the passes", memory*passes, maxArgon2Work),
		checkLengths(base64.RawStdEncoding, found[3], 8, found[4], maxDigest))
}

func checkScrypt(found []string) (cost, error) {
	logN, logNErr := number(found[0])
	block, blockErr := number(found[1])
	lanes, lanesErr := number(found[2])
	if err := cmp.Or(logNErr, blockErr, lanesErr); err != nil {
		return cost{}, err
	}
	const maxLogN = 21 // that of maxScryptWork
	if err := cmp.Or(checkMax("ln", logN, maxLogN), checkMax("r", block, maxScryptBlock),
		checkMax("p", lanes, maxScryptLanes)); err != nil {
		return cost{}, err
	}
	takes := cost{memory: int64(128 * block << logN)} //nolint:gosec // RFC 7914, section 5: the vector of scryptROMix
	return takes, cmp.Or(checkMax("N times r times p", block*lanes<<logN, maxScryptWork),
		checkLengths(base64.RawStdEncoding, found[3], 1, found[4], maxDigest))
}

func checkPBKDF2(found []string) (cost, error) {
	rounds, err := number(found[1])
	if err != nil {
		return cost{}, err
	}
	most, size := uint64(maxPBKDF2SHA1), 20 // More than a hash has would cost twice as much.
	switch found[0] {
	case "-sha256":
		most, size = maxPBKDF2SHA256, 32
	case "-sha512":
		most, size = maxPBKDF2SHA512, 64
	}
	adapted := base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./").
		WithPadding(base64.NoPadding)
	return cost{}, cmp.Or(checkMax("the rounds", rounds, most), checkLengths(adapted, found[2], 1, found[3], size))
}

func checkSHA512Crypt(found []string) (cost, error) {
	if found[0] == "" { // 5,000
		return cost{}, nil
	}
	rounds, err := number(found[0])
	if err != nil {
		return cost{}, err
	}
	if rounds < 1000 { // Programs that create one use 1,000 for fewer, and write so.
		return cost{}, fmt.Errorf("%w: the rounds are fewer than 1000", ErrHashMalformed)
	}
	if err := checkMax("the rounds", rounds, maxSHACryptRounds); err != nil {
		return cost{}, err
	}
	return cost{longest: int(maxSHACryptWork / rounds)}, nil
}

func number(digits string) (uint64, error) {
	value, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, ErrHashMalformed
	}
	return value, nil
}

func checkMax(what string, value, most uint64) error {
	if value > most {
		return fmt.Errorf("%w: %s must be at most %d", ErrHashTooCostly, what, most)
	}
	return nil
}

// checkLengths bounds the salt and the digest, in bytes, and wants them written as their makers do.
func checkLengths(encoding *base64.Encoding, salt string, minSalt int, digest string, maxDigest int) error {
	saltBytes, saltErr := encoding.Strict().DecodeString(salt)
	digestBytes, digestErr := encoding.Strict().DecodeString(digest)
	switch {
	case saltErr != nil || digestErr != nil:
		return fmt.Errorf("%w: the salt or the digest is not in base64", ErrHashMalformed)
	case len(saltBytes) < minSalt || len(saltBytes) > maxSalt:
		return fmt.Errorf("%w: the salt has not %d to %d bytes", ErrHashMalformed, minSalt, maxSalt)
	case len(digestBytes) < minDigest || len(digestBytes) > maxDigest:
		return fmt.Errorf("%w: the digest has not %d to %d bytes", ErrHashMalformed, minDigest, maxDigest)
	}
	return nil
}

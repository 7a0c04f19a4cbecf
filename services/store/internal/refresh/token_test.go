package refresh

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/google/uuid"
)

var masterKey, otherKey = bytes.Repeat([]byte("m"), 32), bytes.Repeat([]byte("o"), 32)

const sessionID = "01970e2c-7a10-7b5e-8c43-0d6f1a9e2b54"

func newTokens(t *testing.T, keys ...[]byte) *Tokens {
	t.Helper()
	tokens, err := NewTokens(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func makeToken(t *testing.T, tokens *Tokens, number int64) string {
	t.Helper()
	token, err := tokens.Make(sessionID, number)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestReadToken(t *testing.T) {
	tokens := newTokens(t, masterKey)
	for _, number := range []int64{1, 2, 255, 256, math.MaxInt64} {
		token := makeToken(t, tokens, number)
		id, got, err := tokens.Read(token)
		if err != nil || id != sessionID || got != number {
			t.Errorf("read %s, %d, %v of token %d", id, got, err, number)
		}
		if again := makeToken(t, tokens, number); again != token {
			t.Error("the same token is another one the second time")
		}
		if !strings.HasPrefix(token, "ghrt_") || len(token) != 59 {
			t.Errorf("the token has %d bytes: %s", len(token), token)
		}
	}
	if _, err := tokens.Make("no id", 1); err == nil {
		t.Error("a token was made for what is no session id")
	}
}

// makeClear makes a token as versions before did.
func makeClear(tokens *Tokens, id string, number int64) string {
	parsed := uuid.MustParse(id)
	raw := binary.BigEndian.AppendUint64(parsed[:], uint64(number))
	return prefix + encoding.EncodeToString(append(raw, mac(tokens.keys[0].clear, raw)...))
}

func TestReadPreviousFormat(t *testing.T) {
	// Made by the version before, under the key of these tests.
	const made = "ghrt_AZcOLHoQe16MQw1vGp4rVAAAAAAAAAAH0944K_7l5mvhTw_PN6lwik4BSRNWreHOIH4oWbq28Sk"
	for _, keys := range [][][]byte{{masterKey}, {otherKey, masterKey}} {
		tokens := newTokens(t, keys...)
		if id, number, err := tokens.Read(made); err != nil || id != sessionID || number != 7 {
			t.Errorf("read %s, %d, %v", id, number, err)
		}
		if token := makeToken(t, tokens, 7); token == made {
			t.Error("tokens are still made so")
		}
	}
	if _, _, err := newTokens(t, otherKey).Read(made); err == nil {
		t.Error("a token of another master key was read")
	}
	for i := len(prefix); i < len(made); i++ {
		changed := []byte(made)
		changed[i] ^= 1
		if _, _, err := newTokens(t, masterKey).Read(string(changed)); err == nil {
			t.Errorf("a token with another byte %d was read", i)
		}
	}
}

// TestMakeIsOpaque checks that successive tokens have no bytes in common, and do not contain the session's id.
func TestMakeIsOpaque(t *testing.T) {
	tokens, id := newTokens(t, masterKey), uuid.MustParse(sessionID)
	var before []byte
	for number := range int64(1000) {
		raw, err := encoding.DecodeString(strings.TrimPrefix(makeToken(t, tokens, number+1), prefix))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(raw, id[:4]) || bytes.Contains(raw, id[8:12]) {
			t.Fatalf("token %d holds a part of the id: %x", number+1, raw)
		}
		for i := 0; before != nil && i+6 <= len(raw); i++ {
			if bytes.Equal(raw[i:i+6], before[i:i+6]) {
				t.Fatalf("tokens %d and %d are alike at %d: %x, %x", number, number+1, i, before, raw)
			}
		}
		before = raw
	}
}

func TestReadAnotherMasterKey(t *testing.T) {
	token := makeToken(t, newTokens(t, masterKey), 1)
	if _, _, err := newTokens(t, otherKey).Read(token); err == nil {
		t.Error("a token of another master key was read")
	}
	for _, keys := range [][][]byte{{otherKey, masterKey}, {masterKey, otherKey}} {
		if id, number, err := newTokens(t, keys...).Read(token); err != nil || id != sessionID || number != 1 {
			t.Errorf("the token of one of two master keys gives %s, %d, %v", id, number, err)
		}
	}
	if makeToken(t, newTokens(t, otherKey, masterKey), 1) == token {
		t.Error("tokens are made under the second key")
	}
}

func TestReadInvalid(t *testing.T) {
	tokens := newTokens(t, masterKey)
	good := makeToken(t, tokens, 7)
	bad := map[string]string{
		"nothing": "", "the prefix": prefix, "no prefix": strings.TrimPrefix(good, prefix),
		"prefix in capitals": strings.ToUpper(prefix) + strings.TrimPrefix(good, prefix),
		"truncated":          good[:len(good)-1], "one byte more": good + "A", "padded": good + "=",
		"a line break more": good + "\n", "a line break within": good[:40] + "\n" + good[41:], "the previous form": prefix + strings.Repeat("A", 75),
		"a space before": " " + good, "other alphabet": prefix + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{0xff}, 40)),
		"zeros": prefix + strings.Repeat("A", 54), "oversized": prefix + strings.Repeat("A", 1<<20),
	}
	for i := len(prefix); i < len(good); i++ { // Each bit of each character, those that no byte needs included.
		for _, char := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_" {
			if byte(char) != good[i] {
				bad[good[:i]+string(char)+good[i+1:]] = good[:i] + string(char) + good[i+1:]
			}
		}
	}
	for name, token := range bad {
		if id, number, err := tokens.Read(token); err == nil {
			t.Errorf("%s: read as token %d of %s", name, number, id)
		}
	}
}

func FuzzRead(f *testing.F) {
	tokens, err := NewTokens(masterKey)
	if err != nil {
		f.Fatal(err)
	}
	good, _ := tokens.Make(sessionID, 7)
	f.Add(good)
	f.Add(good[:len(good)-1])
	f.Add(makeClear(tokens, sessionID, 7))
	f.Add("ghrt_" + strings.Repeat("_", 75))
	f.Fuzz(func(t *testing.T, token string) {
		id, number, err := tokens.Read(token)
		if err != nil {
			if len(token) > 8 && strings.Contains(err.Error(), token) {
				t.Errorf("the error quotes the token: %v", err)
			}
			return
		}
		if again, _ := tokens.Make(id, number); (again != token && makeClear(tokens, id, number) != token) || uuid.Validate(id) != nil {
			t.Errorf("%q was read, but the token of %s, %d is %q", token, id, number, again)
		}
	})
}

package authn_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// compact signs a header and claims as they are written, with our own key.
func (h *testEnv) compact(t testing.TB, header, claims string) string {
	t.Helper()
	signed := encode(header) + "." + encode(claims)
	signature, err := h.edDSA.method.Sign(signed, h.edDSA.private)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + encode(string(signature))
}

// goodHeader and goodClaims are those of a good token; extra is put before the end.
func (h *testEnv) goodHeader(extra string) string {
	return fmt.Sprintf(`{"alg":"EdDSA","typ":"at+jwt","kid":%q%s}`, h.edDSA.public.GetKid(), extra)
}

func (h *testEnv) goodClaims(extra string) string {
	now := h.clock.Now().Unix()
	return fmt.Sprintf(`{"iss":%q,"aud":%q,"sub":%q,"sid":%q,"roles":["user"],"jti":"1","iat":%d,"exp":%d,"auth_time":%d%s}`,
		issuer, audience, userID, session, now, now+900, now, extra)
}

// TestVerify holds tokens that only our own key can make, and that no verifier may take all the same.
func TestVerify(t *testing.T) {
	h := newTestEnv(t)
	now := h.clock.Now()
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	swap := func(old, replacement string) string {
		claims := h.goodClaims("")
		if !strings.Contains(claims, old) {
			t.Fatalf("%s is not in %s", old, claims)
		}
		return strings.Replace(claims, old, replacement, 1)
	}
	iat, exp := fmt.Sprintf(`"iat":%d`, at(0)), fmt.Sprintf(`"exp":%d`, at(15*time.Minute))
	times := func(issued, expires time.Duration) string {
		return strings.Replace(swap(iat, fmt.Sprintf(`"iat":%d`, at(issued))), exp, fmt.Sprintf(`"exp":%d`, at(expires)), 1)
	}
	kid := h.edDSA.public.GetKid()

	t.Run("takes", func(t *testing.T) {
		for name, token := range map[string]string{
			"what the others are made from": h.compact(t, h.goodHeader(""), h.goodClaims("")),
			"claims that are not known": h.compact(t, h.goodHeader(""),
				h.goodClaims(`,"client_id":"x","Sub":"another","nested":{"sub":"another","sid":[1]}`)),
			"white space":             h.compact(t, " "+h.goodHeader("")+"\n", "\t"+h.goodClaims("")+" "),
			"a fraction of a second":  h.compact(t, h.goodHeader(""), swap(iat, iat+".5")),
			"a store that is ahead":   h.compact(t, h.goodHeader(""), times(10*time.Minute, 25*time.Minute)),
			"the longest lifetime":    h.compact(t, h.goodHeader(""), times(0, authn.MaxTokenLifetime)),
			"the audience in a list":  h.compact(t, h.goodHeader(""), swap(`"aud":"`+audience+`"`, `"aud":["other","`+audience+`"]`)),
			"no auth_time":            h.compact(t, h.goodHeader(""), swap(fmt.Sprintf(`,"auth_time":%d`, at(0)), "")),
			"app metadata, as it was": h.compact(t, h.goodHeader(""), h.goodClaims(`,"app_metadata":{"plan":{"a":[1,"x"]}}`)),
		} {
			t.Run(name, func(t *testing.T) {
				caller, err := h.Verify(t.Context(), token)
				if err != nil || caller.UserID != userID || caller.SessionID != session {
					t.Errorf("Verify = %+v, %v", caller, err)
				}
			})
		}
	})

	t.Run("refuses_headers", func(t *testing.T) {
		for name, header := range map[string]string{
			"crit":                       h.goodHeader(`,"crit":["exp"]`),
			"crit of b64":                h.goodHeader(`,"crit":["b64"],"b64":false`),
			"an empty crit":              h.goodHeader(`,"crit":[]`),
			"crit null":                  h.goodHeader(`,"crit":null`),
			"b64":                        h.goodHeader(`,"b64":true`),
			"zip":                        h.goodHeader(`,"zip":"DEF"`),
			"jku":                        h.goodHeader(`,"jku":"https://evil.example/keys"`),
			"jwk":                        h.goodHeader(`,"jwk":{"kty":"OKP"}`),
			"x5u":                        h.goodHeader(`,"x5u":"https://evil.example/cert"`),
			"x5c":                        h.goodHeader(`,"x5c":["AA"]`),
			"enc":                        h.goodHeader(`,"enc":"A128GCM"`),
			"cty":                        h.goodHeader(`,"cty":"JWT"`),
			"a name that nobody knows":   h.goodHeader(`,"x":1`),
			"an empty name":              h.goodHeader(`,"":1`),
			"kid twice":                  h.goodHeader(`,"kid":"` + kid + `"`),
			"another kid first":          `{"kid":"other",` + h.goodHeader("")[1:],
			"alg twice":                  h.goodHeader(`,"alg":"none"`),
			"alg twice, by an escape":    h.goodHeader(`,"\u0061lg":"EdDSA"`),
			"typ twice":                  h.goodHeader(`,"typ":"JWT"`),
			"Alg":                        fmt.Sprintf(`{"Alg":"EdDSA","alg":"EdDSA","typ":"at+jwt","kid":%q}`, kid),
			"Typ for typ":                fmt.Sprintf(`{"alg":"EdDSA","Typ":"at+jwt","kid":%q}`, kid),
			"KID for kid":                fmt.Sprintf(`{"alg":"EdDSA","typ":"at+jwt","KID":%q}`, kid),
			"typ in a list":              fmt.Sprintf(`{"alg":"EdDSA","typ":["at+jwt"],"kid":%q}`, kid),
			"typ in capitals":            fmt.Sprintf(`{"alg":"EdDSA","typ":"AT+JWT","kid":%q}`, kid),
			"something after it":         h.goodHeader("") + "{}",
			"a null byte after it":       h.goodHeader("") + "\x00",
			"a byte order mark":          "\ufeff" + h.goodHeader(""),
			"text that is not UTF-8":     h.goodHeader(",\"x\xff\":1"),
			"a list":                     "[" + h.goodHeader("") + "]",
			"null":                       "null",
			"a kid that is not UTF-8":    strings.Replace(h.goodHeader(""), kid, kid+"\xff", 1),
			"an unpaired surrogate":      h.goodHeader(`,"\ud800":1`),
			"a comma before the end":     strings.Replace(h.goodHeader(""), "}", ",}", 1),
			"a comment":                  "/**/" + h.goodHeader(""),
			"an algorithm that is empty": fmt.Sprintf(`{"alg":"","typ":"at+jwt","kid":%q}`, kid),
		} {
			t.Run(name, func(t *testing.T) {
				_, err := h.Verify(t.Context(), h.compact(t, header, h.goodClaims("")))
				wantReason(t, err, invalid)
			})
		}
	})

	t.Run("refuses_claims", func(t *testing.T) {
		for name, claims := range map[string]string{
			"sub twice":                       h.goodClaims(`,"sub":"another"`),
			"sub twice, the same":             h.goodClaims(`,"sub":"` + userID + `"`),
			"sub twice, by an escape":         h.goodClaims(`,"s\u0075b":"another"`),
			"sid twice":                       h.goodClaims(`,"sid":"another"`),
			"roles twice":                     h.goodClaims(`,"roles":["admin"]`),
			"exp twice":                       h.goodClaims(`,"exp":4102444800`),
			"aud twice":                       h.goodClaims(`,"aud":"other"`),
			"a name that is not known, twice": h.goodClaims(`,"x":1,"x":2`),
			"a name twice, deep inside":       h.goodClaims(`,"app_metadata":{"plan":{"a":1,"a":2}}`),
			"SUB for sub":                     swap(`"sub"`, `"SUB"`),
			"Sid for sid":                     swap(`"sid"`, `"Sid"`),
			"EXP for exp":                     swap(`"exp"`, `"EXP"`),
			"Iat for iat":                     swap(`"iat"`, `"Iat"`),
			"AUD for aud":                     swap(`"aud"`, `"AUD"`),
			"Iss for iss":                     swap(`"iss"`, `"Iss"`),
			"no iat":                          swap(iat+",", ""),
			"iat null":                        swap(iat, `"iat":null`),
			"iat as text":                     swap(iat, fmt.Sprintf(`"iat":"%d"`, at(0))),
			"exp as text":                     swap(exp, fmt.Sprintf(`"exp":"%d"`, at(15*time.Minute))),
			"exp as true":                     swap(exp, `"exp":true`),
			"exp beyond any date":             swap(exp, `"exp":1e300`),
			"exp below any date":              swap(exp, `"exp":-1e300`),
			"iat beyond any date":             swap(iat, `"iat":1e300`),
			"iat before 1970":                 swap(iat, `"iat":-1`),
			"iat over ten minutes ahead":      times(10*time.Minute+time.Second, 25*time.Minute),
			"iat ten years ahead":             times(87600*time.Hour, 87601*time.Hour),
			"a lifetime over a day":           times(0, authn.MaxTokenLifetime+2*time.Second),
			"exp ten years ahead":             times(0, 87600*time.Hour),
			"exp ten years after iat":         times(-87599*time.Hour, time.Hour),
			"expired, after ten years":        times(-87600*time.Hour, -time.Hour),
			"auth_time after iat":             swap(fmt.Sprintf(`"auth_time":%d`, at(0)), fmt.Sprintf(`"auth_time":%d`, at(time.Hour))),
			"nbf in a second":                 h.goodClaims(fmt.Sprintf(`,"nbf":%d`, at(time.Second))),
			"nbf as text":                     h.goodClaims(fmt.Sprintf(`,"nbf":"%d"`, at(0))),
			"an audience in an object":        swap(`"aud":"`+audience+`"`, `"aud":{"`+audience+`":1}`),
			"a number among the audiences":    swap(`"aud":"`+audience+`"`, `"aud":["`+audience+`",1]`),
			"roles with a number":             swap(`["user"]`, `["user",1]`),
			"a subject that is not UTF-8":     swap(userID, userID+"\xff"),
			"something after them":            h.goodClaims("") + "{}",
			"a list":                          "[" + h.goodClaims("") + "]",
			"null":                            "null",
			"a byte order mark":               "\ufeff" + h.goodClaims(""),
		} {
			t.Run(name, func(t *testing.T) {
				for range 2 {
					_, err := h.Verify(t.Context(), h.compact(t, h.goodHeader(""), claims))
					wantReason(t, err, invalid)
				}
			})
		}
	})
}

// FuzzVerifyOwnTokens signs any header and any claims with our own key. What is admitted has a header of exactly the
// three members, has no name twice, and names the user and the session under the exact names.
func FuzzVerifyOwnTokens(f *testing.F) {
	h := newTestEnv(f)
	f.Add(h.goodHeader(""), h.goodClaims(""))
	f.Add(h.goodHeader(`,"crit":["exp"]`), h.goodClaims(`,"SUB":"x","nbf":1`))
	f.Add(h.goodHeader(`,"\u006bid":""`), h.goodClaims(`,"x":{"a":[{"b":1,"b":2}]}`))
	f.Fuzz(func(t *testing.T, header, claims string) {
		caller, err := h.Verify(t.Context(), h.compact(t, header, claims))
		if err != nil {
			return
		}
		var head map[string]string
		if err := json.Unmarshal([]byte(header), &head); err != nil || len(head) != 3 || head["typ"] != authn.TokenType {
			t.Errorf("the header %q is admitted", header)
		}
		var exact map[string]any
		if err := json.Unmarshal([]byte(claims), &exact); err != nil || exact["sub"] != caller.UserID || exact["sid"] != caller.SessionID {
			t.Errorf("the claims %q are admitted as %+v", claims, caller)
		}
		if hasDuplicate(t, header) || hasDuplicate(t, claims) {
			t.Errorf("a name appears twice in %q or %q", header, claims)
		}
	})
}

// hasDuplicate reports whether a JSON text has an object in which a name appears twice.
func hasDuplicate(t *testing.T, text string) bool {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader([]byte(text)))
	type level struct {
		names map[string]bool // nil in a list
		value bool            // a name was read, its value comes next
	}
	var levels []*level
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return false
		}
		if err != nil {
			t.Fatal(err)
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			levels = levels[:len(levels)-1]
			continue
		}
		if len(levels) > 0 {
			inside := levels[len(levels)-1]
			if name, ok := token.(string); ok && inside.names != nil && !inside.value {
				if inside.names[name] {
					return true
				}
				inside.names[name], inside.value = true, true
				continue
			}
			inside.value = false
		}
		switch token {
		case json.Delim('{'):
			levels = append(levels, &level{names: map[string]bool{}})
		case json.Delim('['):
			levels = append(levels, &level{})
		}
	}
}

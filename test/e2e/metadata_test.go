package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// TestMetadata sends metadata as text, which the corpus, whose numbers are doubles already, cannot.
func TestMetadata(t *testing.T) {
	t.Parallel()
	env := startUp(t, t.TempDir(), cheapHashes...)
	signUp(t, env, "ada@example.com")
	header := http.Header{
		"Authorization": {"Bearer " + logIn(t, env, "ada@example.com")}, "Content-Type": {"application/json"},
	}
	profile := env.rest + "/v1/users/me"
	read := func(t *testing.T) string {
		t.Helper()
		status, _, text := fetch(t, http.MethodGet, profile, "", header)
		if status != http.StatusOK {
			t.Fatalf("the profile is answered %d: %s", status, text)
		}
		return strings.ReplaceAll(text, " ", "")
	}
	t.Run("integer_that_a_double_rounds", func(t *testing.T) {
		for _, number := range []string{"9007199254740993", "-9007199254740993", "9007199254740992", "1e16", "12345678901234567890"} {
			status, _, text := fetch(t, http.MethodPatch, profile, `{"metadata":{"a":[{"id":`+number+`}]}}`, header)
			if status != http.StatusBadRequest || !strings.Contains(text, `"user.metadata"`) || !strings.Contains(text, "METADATA_NUMBER") {
				t.Errorf("%s is answered %d: %s", number, status, text)
			}
		}
		if text := read(t); strings.Contains(text, `"metadata"`) {
			t.Errorf("the profile is %s", text)
		}
	})
	for name, metadata := range map[string]string{
		"empty_object": `{}`, "exact_integers": `{"max":9007199254740991,"min":-9007199254740991,"text":"9007199254740993"}`,
	} {
		t.Run(name, func(t *testing.T) {
			status, _, text := fetch(t, http.MethodPatch, profile, `{"metadata":`+metadata+`}`, header)
			if status != http.StatusOK {
				t.Fatalf("it is answered %d: %s", status, text)
			}
			for range 2 { // From the store, and from the cache.
				if text := read(t); !strings.Contains(text, `"metadata":`+metadata) {
					t.Errorf("the profile is %s", text)
				}
			}
		})
	}
}

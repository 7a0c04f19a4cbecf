package clients

import "testing"

// TestJWTClients verifies access tokens with JWT libraries for Node.js, as docs/guides/keys.md says which can.
func TestJWTClients(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		flags []string
		args  []string // algorithm, and the libraries that cannot verify it
	}{
		{"default", nil, []string{"ES256"}},
		{"RS256", []string{"--signing-algorithm", "RS256"}, []string{"RS256"}},
		{"EdDSA", []string{"--signing-algorithm", "EdDSA"}, []string{"EdDSA", "jsonwebtoken"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			g := startUp(t, test.flags...)
			g.runNode(t, "jwt.js", test.args...)
		})
	}
}

// TestIntrospection introspects tokens as a resource server does that knows the issuer and its own credentials.
func TestIntrospection(t *testing.T) {
	t.Parallel()
	const id, secret = "api", "32/characters+or%more:of-a-secret"
	g := startUp(t, "--introspection-client-id", id, "--introspection-client-secret", secret)
	g.runNode(t, "introspection.js", id, secret)
}

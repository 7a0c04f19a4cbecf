package gateway

import (
	"io"
	"net/http"
	"testing"
)

// BenchmarkREST makes one request after another over one connection. Its allocations include those of the client and of
// the service behind the gateway.
func BenchmarkREST(b *testing.B) {
	u := newUpstream(b)
	conn := u.serve(b)
	env := newTestEnv(b, conn, conn)
	token := "Bearer " + u.token(b)
	for _, test := range []struct{ name, method, path string }{
		{"read", http.MethodGet, "/v1/users/me"},
		{"method_not_allowed", http.MethodDelete, "/v1/users"},
	} {
		b.Run(test.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				request, err := http.NewRequestWithContext(b.Context(), test.method, env.base+test.path, http.NoBody)
				if err != nil {
					b.Fatal(err)
				}
				request.Header.Set("Authorization", token)
				response, err := env.client.Do(request)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, response.Body)
				if err := response.Body.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

package clients

import "testing"

func TestOpenAPIClients(t *testing.T) {
	g := startUp(t)
	t.Run("openapi-fetch signs up, logs in and logs out", func(t *testing.T) {
		g.runNode(t, "openapi_fetch.js")
	})
}

package oauth

import (
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/reply"
)

// wellKnownPath begins the paths of documents for verifiers (RFC 8615), and metadataPath is that of the metadata of an
// authorization server (RFC 8414, section 3), which the path of the issuer follows.
const (
	wellKnownPath = "/.well-known/"
	metadataPath  = wellKnownPath + "oauth-authorization-server"
)

// serverMetadata holds the members of RFC 8414, section 2, that apply here. There is no authorization endpoint and no
// token endpoint: the lists of response and grant types are empty rather than absent, which would mean the code flow.
type serverMetadata struct {
	Issuer                   string   `json:"issuer"`
	JWKSURI                  string   `json:"jwks_uri"`
	ResponseTypes            []string `json:"response_types_supported"`
	GrantTypes               []string `json:"grant_types_supported"`
	IntrospectionEndpoint    string   `json:"introspection_endpoint,omitempty"`
	IntrospectionAuthMethods []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
}

// Pages returns the handlers of the metadata of the issuer and, unless the client is the zero value, of introspection
// by their paths.
func Pages(issuer string, client Client, front *edge.Edge) (map[string]http.Handler, error) {
	parsed, err := url.Parse(issuer)
	if err != nil {
		return nil, err
	}
	pages := map[string]http.Handler{}
	metadata := serverMetadata{
		Issuer: issuer, JWKSURI: issuer + wellKnownPath + "jwks.json", ResponseTypes: []string{}, GrantTypes: []string{},
	}
	if client != (Client{}) {
		metadata.IntrospectionEndpoint = issuer + IntrospectionPath
		metadata.IntrospectionAuthMethods = []string{"client_secret_basic"}
		pages[IntrospectionPath] = newIntrospection(client, front)
	}
	document, err := json.Marshal(metadata)
	if err != nil {
		return nil, err
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reply.Method(w, r, reply.Read, func() {
			reply.MayBeCached(w)
			reply.JSON(w, http.StatusOK, document)
		})
	})
	pages[metadataPath], pages[metadataPath+parsed.Path] = handler, handler
	return pages, nil
}

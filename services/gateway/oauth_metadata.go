package gateway

import (
	"encoding/json"
	"net/http"
	"net/url"
)

// oauthMetadataPath is where the metadata of an authorization server is (RFC 8414, section 3). Where the issuer has a
// path, that comes after it.
const oauthMetadataPath = wellKnownPath + "oauth-authorization-server"

// oauthMetadata is what is true here of RFC 8414, section 2. There is no authorization endpoint and no token endpoint:
// the lists of response and grant types are empty rather than left out, which would stand for the code flow.
type oauthMetadata struct {
	Issuer                   string   `json:"issuer"`
	JWKSURI                  string   `json:"jwks_uri"`
	ResponseTypes            []string `json:"response_types_supported"`
	GrantTypes               []string `json:"grant_types_supported"`
	IntrospectionEndpoint    string   `json:"introspection_endpoint,omitempty"`
	IntrospectionAuthMethods []string `json:"introspection_endpoint_auth_methods_supported,omitempty"`
}

// newOAuthMetadata returns the document, and the paths at which it is served.
func newOAuthMetadata(issuer string, introspects bool) (document []byte, paths []string, err error) {
	metadata := oauthMetadata{
		Issuer: issuer, JWKSURI: issuer + wellKnownPath + "jwks.json", ResponseTypes: []string{}, GrantTypes: []string{},
	}
	if introspects {
		metadata.IntrospectionEndpoint = issuer + introspectionPath
		metadata.IntrospectionAuthMethods = []string{"client_secret_basic"}
	}
	if document, err = json.Marshal(metadata); err != nil {
		return nil, nil, err
	}
	parsed, err := url.Parse(issuer)
	if err != nil {
		return nil, nil, err
	}
	return document, []string{oauthMetadataPath, oauthMetadataPath + parsed.Path}, nil
}

func (s *restServer) serveOAuthMetadata(w http.ResponseWriter, r *http.Request) {
	static(w, r, oauthMetadataPath, func() {
		w.Header().Set("Cache-Control", publishedMaxAge)
		writeJSON(w, http.StatusOK, s.oauthMetadata)
	})
}

package gateway

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/grpc/codes"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// introspectionPath is where resource servers ask whether a token is active (RFC 7662).
const introspectionPath = "/oauth2/introspect"

const (
	minClientSecret = 32 // bytes; 128 bits of randomness in hexadecimal, or more in base64
	maxClientSecret = 1024
	maxClientID     = 128
)

// IntrospectionClient is the client that may introspect tokens. The zero value is none.
type IntrospectionClient struct{ ID, Secret string }

// Validate returns an error that names every fault, and never the secret.
func (c IntrospectionClient) Validate() error {
	if c == (IntrospectionClient{}) {
		return nil
	}
	var faults []error
	if c.ID == "" || len(c.ID) > maxClientID || strings.ContainsRune(c.ID, ':') || !isVisibleASCII(c.ID) {
		faults = append(faults, fmt.Errorf(
			"the introspection client id is not 1 to %d visible ASCII characters without a colon", maxClientID))
	}
	if len(c.Secret) < minClientSecret || len(c.Secret) > maxClientSecret || !isVisibleASCII(c.Secret) {
		faults = append(faults, fmt.Errorf("the introspection client secret is not %d to %d visible ASCII characters",
			minClientSecret, maxClientSecret))
	}
	return errors.Join(faults...)
}

func isVisibleASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// introspection serves RFC 7662. Whether a token is active is for ReadSession to say: the gateway makes that call with
// the token, as if its holder did.
type introspection struct {
	edge       *edge
	id, secret [sha256.Size]byte // digests
}

// newIntrospection returns nil if there is no client.
func newIntrospection(client IntrospectionClient, edge *edge) *introspection {
	if client == (IntrospectionClient{}) {
		return nil
	}
	return &introspection{edge: edge, id: sha256.Sum256([]byte(client.ID)), secret: sha256.Sum256([]byte(client.Secret))}
}

// introspectionAnswer has the members of RFC 7662, section 2.2, that are true of an active token, and sid and roles.
type introspectionAnswer struct {
	Active    bool     `json:"active"`
	Subject   string   `json:"sub,omitempty"`
	SessionID string   `json:"sid,omitempty"`
	ClientID  string   `json:"client_id,omitempty"`
	Roles     []string `json:"roles,omitempty"`
	TokenType string   `json:"token_type,omitempty"`
	Issuer    string   `json:"iss,omitempty"`
	Audience  string   `json:"aud,omitempty"`
	TokenID   string   `json:"jti,omitempty"`
	IssuedAt  uint32   `json:"iat,omitempty"`
	ExpiresAt uint32   `json:"exp,omitempty"`
}

// ServeHTTP answers a form-encoded POST. The client is authenticated before the body is read.
func (i *introspection) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	setRoute(w, introspectionPath)
	switch {
	case r.Method == http.MethodOptions:
		writeOptions(w, http.MethodPost)
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		writeError(w, apierr.MethodNotAllowed("method not allowed: use POST"))
	case !i.authenticates(r):
		w.Header().Set("WWW-Authenticate", `Basic realm="gatehouse"`)
		writeOAuthError(w, http.StatusUnauthorized, "invalid_client")
	default:
		i.introspect(w, r)
	}
}

// authenticates reports whether the request carries the credentials of the client. They are form-encoded within HTTP
// Basic (RFC 6749, section 2.3.1). The time it takes reveals nothing about either.
func (i *introspection) authenticates(r *http.Request) bool {
	encodedID, encodedSecret, ok := r.BasicAuth()
	id, idErr := url.QueryUnescape(encodedID)
	secret, secretErr := url.QueryUnescape(encodedSecret)
	idDigest, secretDigest := sha256.Sum256([]byte(id)), sha256.Sum256([]byte(secret))
	equal := subtle.ConstantTimeCompare(idDigest[:], i.id[:]) & subtle.ConstantTimeCompare(secretDigest[:], i.secret[:])
	return ok && idErr == nil && secretErr == nil && equal == 1
}

func (i *introspection) introspect(w http.ResponseWriter, r *http.Request) {
	mediaType, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/x-www-form-urlencoded" {
		writeOAuthError(w, http.StatusBadRequest, "invalid_request")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxSmallRequest)
	if err := r.ParseForm(); err != nil || len(r.PostForm["token"]) != 1 || r.PostForm.Get("token") == "" {
		writeOAuthError(w, http.StatusBadRequest, "invalid_request")
		return
	}
	answer, err := i.answer(r, r.PostForm.Get("token"))
	if err != nil {
		writeError(w, err)
		return
	}
	body, err := json.Marshal(answer)
	if err != nil {
		writeError(w, apierr.Internal(err))
		return
	}
	writeJSON(w, http.StatusOK, body)
}

// answer reads the session that a token is of. A token that is refused, for whatever reason, is not active, and nothing
// more is said (RFC 7662, section 2.2). An error is that it could not be found out.
func (i *introspection) answer(r *http.Request, token string) (introspectionAnswer, error) {
	if !isVisibleASCII(token) {
		return introspectionAnswer{}, nil // No header can carry it, and no token of ours has it.
	}
	ctx := withToken(r.Context(), http.Header{"Authorization": {"Bearer " + token}})
	request, found := &gatehousev1.ReadSessionRequest{Id: "current"}, &gatehousev1.ReadSessionResponse{}
	err := i.edge.Invoke(ctx, gatehousev1.SessionService_ReadSession_FullMethodName, request, found)
	switch code := apierr.Status(err).Code(); code {
	case codes.OK:
	case codes.Unauthenticated, codes.PermissionDenied, codes.NotFound:
		return introspectionAnswer{}, nil
	default:
		return introspectionAnswer{}, err
	}
	return introspectionAnswer{
		Active: found.GetActive(), Subject: found.GetSub(), SessionID: found.GetSession().GetId(),
		ClientID: authn.ClientID, Roles: found.GetRoles(), TokenType: found.GetTokenType(), Issuer: found.GetIss(),
		Audience: found.GetAud(), TokenID: found.GetJti(), IssuedAt: found.GetIat(), ExpiresAt: found.GetExp(),
	}, nil
}

// writeOAuthError answers with an error in the form of RFC 6749, section 5.2.
func writeOAuthError(w http.ResponseWriter, code int, name string) {
	writeJSON(w, code, []byte(`{"error":"`+name+`"}`))
}

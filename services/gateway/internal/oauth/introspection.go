// Package oauth serves what resource servers of OAuth 2.0 need beside the API: token introspection and the metadata of
// the authorization server.
package oauth

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
	"google.golang.org/grpc/metadata"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/reply"
)

// IntrospectionPath is the path at which resource servers check whether a token is active (RFC 7662).
const IntrospectionPath = "/oauth2/introspect"

const (
	minClientSecret = 32 // bytes; 128 bits of randomness in hexadecimal, or more in base64
	maxClientSecret = 1024
	maxClientID     = 128
)

// Client is the client that may introspect tokens. The zero value means that introspection is off.
type Client struct{ ID, Secret string }

// Validate returns an error that names every problem, and never the secret.
func (c Client) Validate() error {
	if c == (Client{}) {
		return nil
	}
	var problems []error
	if c.ID == "" || len(c.ID) > maxClientID || strings.ContainsRune(c.ID, ':') || !isVisibleASCII(c.ID) {
		problems = append(problems, fmt.Errorf(
			"the introspection client id is not 1 to %d visible ASCII characters without a colon", maxClientID))
	}
	if len(c.Secret) < minClientSecret || len(c.Secret) > maxClientSecret || !isVisibleASCII(c.Secret) {
		problems = append(problems, fmt.Errorf("the introspection client secret is not %d to %d visible ASCII characters",
			minClientSecret, maxClientSecret))
	}
	return errors.Join(problems...)
}

func isVisibleASCII(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// introspection serves RFC 7662. ReadSession decides whether a token is active: the gateway makes that call with the
// token, as if its holder did.
type introspection struct {
	edge       *edge.Edge
	id, secret [sha256.Size]byte // digests
}

func newIntrospection(client Client, front *edge.Edge) *introspection {
	return &introspection{edge: front, id: sha256.Sum256([]byte(client.ID)), secret: sha256.Sum256([]byte(client.Secret))}
}

// introspectionAnswer contains the members of RFC 7662, section 2.2, that apply to an active token, and sid and roles.
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

// ServeHTTP serves a form-encoded POST. The client is authenticated before the body is read.
func (i *introspection) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	reply.Method(w, r, http.MethodPost, func() {
		if !i.authenticates(r) {
			w.Header().Set("WWW-Authenticate", `Basic realm="gatehouse"`)
			writeOAuthError(w, http.StatusUnauthorized, "invalid_client")
			return
		}
		i.introspect(w, r)
	})
}

// authenticates reports whether the request carries the credentials of the client. They are form-encoded within HTTP
// Basic (RFC 6749, section 2.3.1). The comparison takes constant time.
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
	r.Body = http.MaxBytesReader(w, r.Body, edge.MaxSmallRequest)
	if err := r.ParseForm(); err != nil || len(r.PostForm["token"]) != 1 || r.PostForm.Get("token") == "" {
		writeOAuthError(w, http.StatusBadRequest, "invalid_request")
		return
	}
	answer, err := i.answer(r, r.PostForm.Get("token"))
	if err != nil {
		reply.Error(w, r, err)
		return
	}
	body, err := json.Marshal(answer)
	if err != nil {
		reply.Error(w, r, apierr.Internal(err))
		return
	}
	reply.JSON(w, http.StatusOK, body)
}

// answer reads the session of a token. A token that is rejected, for whatever reason, is not active, and the answer
// does not contain the reason (RFC 7662, section 2.2). An error means that it is unknown whether the token is active.
func (i *introspection) answer(r *http.Request, token string) (introspectionAnswer, error) {
	if !isVisibleASCII(token) {
		return introspectionAnswer{}, nil // No header can carry it, and no issued token contains it.
	}
	ctx := metadata.NewIncomingContext(r.Context(), metadata.Pairs(authn.AuthorizationKey, "Bearer "+token))
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

// writeOAuthError writes an error in the form of RFC 6749, section 5.2.
func writeOAuthError(w http.ResponseWriter, code int, name string) {
	reply.JSON(w, code, []byte(`{"error":"`+name+`"}`))
}

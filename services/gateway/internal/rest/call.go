package rest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/reply"
)

// call is a REST request to the API. It is resolved once, before the generated handler of its route runs: the route is
// found, the caller admitted, the body read, the query parsed, and the headers that stand for fields are read. The
// context of the request carries it to the handler's connection and marshaler, which use it and resolve nothing again.
type call struct {
	route     *route
	body      []byte             // JSON; empty without a body, and for a read
	bodyError *apierr.Error      // by the decoder: the generated handlers pass on only the text of its error
	version   protoreflect.Value // of If-Match; invalid without one
	answer    encodedAnswer

	releases []func() // of the room for body and answer
}

type callKey struct{}

// callOf returns the call of a request, or nil if the request has no route.
func callOf(ctx context.Context) *call {
	found, _ := ctx.Value(callKey{}).(*call)
	return found
}

// release releases the room for body and answer.
func (c *call) release() {
	for _, release := range c.releases {
		release()
	}
}

// Read implements io.Reader for http.Request.Body. The decoder of the body reads the call itself.
func (c *call) Read([]byte) (int, error) { return 0, io.EOF }

// Close implements io.Closer.
func (c *call) Close() error { return nil }

// resolve resolves the call of a request before the generated handler runs, and releases it when the answer is sent.
func (a *api) resolve(next runtime.HandlerFunc) runtime.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
		resolved := &call{}
		defer resolved.release()
		r = r.WithContext(context.WithValue(r.Context(), callKey{}, resolved))
		r, err := a.resolveCall(resolved, w, r)
		if err != nil {
			reply.Error(w, r, err)
			return
		}
		next(w, r, params)
		flush(w, r)
	}
}

// resolveCall fills in the call, and returns the request that the generated handler gets. The caller is admitted before
// the body is read, as over native gRPC: both transports refuse a stranger with the same error, whatever was sent.
func (a *api) resolveCall(c *call, w http.ResponseWriter, r *http.Request) (*http.Request, error) {
	pattern, _ := runtime.HTTPPattern(r.Context())
	if c.route = a.routes[r.Method+" "+pattern.String()]; c.route == nil {
		return r, apierr.Internal(fmt.Errorf("no method has the route %s %s", r.Method, pattern))
	}
	reply.SetRoute(r, c.route.template.text)
	ctx, _, err := a.edge.Admit(r.Context(), c.route.Name)
	if err != nil {
		return r, err
	}
	if err := a.readBody(c, w, r); err != nil {
		return r, err
	}
	query, err := c.route.parseQuery(r.URL.RawQuery)
	if err != nil {
		return r, err
	}
	if err := c.checkUnusedBody(); err != nil {
		return r, err
	}
	if c.version, err = c.route.readVersion(r.Header); err != nil {
		return r, err
	}
	if c.route.mask != nil {
		if err := c.route.mask.complete(query, c.body); err != nil {
			return r, err
		}
	}
	// The generated handlers would read the first, and log the second if they cannot.
	r.Header.Del("Grpc-Timeout")
	r.Header.Del("Content-Type")
	r = r.WithContext(ctx)
	r.Body = c
	r.Form, r.PostForm = query, url.Values{} // http.Request.ParseForm parses nothing then.
	return r, nil
}

// callConn is the connection of the generated handlers. It completes the message by the call, and encodes the answer.
type callConn struct{ *edge.Edge }

// Invoke implements grpc.ClientConnInterface.
func (c callConn) Invoke(ctx context.Context, method string, request, reply any, options ...grpc.CallOption) error {
	resolved := callOf(ctx)
	if message, ok := request.(proto.Message); ok && resolved.version.IsValid() {
		if err := setVersion(message.ProtoReflect(), resolved.version); err != nil {
			return err
		}
	}
	if err := c.Edge.Invoke(ctx, method, request, reply, options...); err != nil {
		return err
	}
	return resolved.encodeAnswer(ctx, c.Answers, reply)
}

// encodeAnswer encodes the answer and reserves room for it until it is sent: JSON can be several times as long as the
// message.
func (c *call) encodeAnswer(ctx context.Context, answers *edge.AnswerBudget, message any) error {
	encoded, err := newMarshaler().Marshal(message)
	if err != nil {
		return fmt.Errorf("encode the answer: %w", err)
	}
	release, err := answers.Reserve(ctx, c.route.Name, len(encoded))
	if err != nil {
		return err
	}
	c.releases = append(c.releases, release)
	c.answer = encoded
	return nil
}

// useEncoded replaces the message of a response, which always belongs to a call, by its encoded answer.
func useEncoded(ctx context.Context, _ proto.Message) (any, error) {
	return callOf(ctx).answer, nil
}

package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"reflect"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// jsonBody is a request's body, read as a whole and known to be JSON. The decoder leaves here what it has to say, as
// the generated handlers keep of its error only the text.
type jsonBody struct {
	*bytes.Reader

	raw   []byte
	fault *apierr.Error
}

// Close implements io.Closer.
func (b *jsonBody) Close() error { return nil }

// readBody replaces the body of a request for which a route was found by a jsonBody. The body of a read is not read, as
// it has no meaning (RFC 9110, section 9.3.1): a proxy that asks for a read on behalf of another request may announce
// the body of that request, and never send it.
func readBody(budget *requestBudget, methods restMethods) runtime.Middleware {
	return func(next runtime.HandlerFunc) runtime.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request, params map[string]string) {
			method, err := methods.of(r)
			reservation := budget.newReservation(clientKey(r.Context()))
			defer reservation.release()
			var raw []byte
			if err == nil && !method.reads {
				raw, err = readAll(w, r, method.maxRequestSize, reservation)
			}
			if err == nil {
				err = method.checkBody(r.Header, raw)
			}
			if err != nil {
				writeError(w, err)
				return
			}
			r.Header.Del("Content-Type") // The generated handlers would log one that they cannot read.
			r.Body = &jsonBody{Reader: bytes.NewReader(raw), raw: raw}
			next(w, r, params)
		}
	}
}

// readAll reads a body of at most limit bytes. One that is announced to be longer is not read at all.
func readAll(w http.ResponseWriter, r *http.Request, limit int64, reservation *reservation) ([]byte, error) {
	err := checkRequestSize(r.ContentLength, limit)
	var raw []byte
	if err == nil {
		raw, err = io.ReadAll(reservation.reader(http.MaxBytesReader(w, r.Body, limit)))
	}
	if err == nil {
		return raw, nil
	}
	if r.ProtoMajor == 1 { // net/http would read what it can of the rest before it answers.
		w.Header().Set("Connection", "close")
	}
	return nil, readFault(err)
}

func readFault(err error) error {
	if full, noRoom := errors.AsType[*apierr.Error](err); noRoom {
		return full
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return apierr.RequestTooLarge(err)
	}
	return apierr.MalformedRequest("the body is incomplete", err)
}

// checkBody makes sure that a body, if there is one, is one JSON value and says so. An empty object where the call has
// no body need not.
func (m restMethod) checkBody(header http.Header, raw []byte) error {
	if len(raw) == 0 || !m.takesBody && isEmptyObject(raw) {
		return nil
	}
	mediaType, ok := m.mediaType(header)
	if !ok {
		return apierr.UnsupportedMediaType()
	}
	if err := checkJSONNesting(raw, m.aroundBody); err != nil {
		return err
	}
	var value json.RawMessage
	err := json.Unmarshal(raw, &value)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		return apierr.MalformedRequest(fmt.Sprintf("the body is not valid JSON: error at byte %d", syntax.Offset), nil)
	}
	if err != nil {
		return apierr.MalformedRequest("the body is not valid JSON", nil)
	}
	if mediaType == mergePatchType {
		return m.patch.checkMerge(raw)
	}
	return nil
}

// Media types of bodies.
const (
	jsonType       = "application/json"
	mergePatchType = "application/merge-patch+json" // RFC 7396, of a PATCH
)

// mediaType returns the media type of a body, and whether the method takes it.
func (m restMethod) mediaType(header http.Header) (mediaType string, ok bool) {
	mediaType, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) { // Of the parameters, only a charset matters.
		return "", false
	}
	encoding := header.Get("Content-Encoding")
	ok = (mediaType == jsonType || mediaType == mergePatchType && m.patch != nil) && isUTF8(params["charset"]) &&
		(encoding == "" || strings.EqualFold(encoding, "identity"))
	return mediaType, ok
}

// isUTF8 reports whether a charset is UTF-8 in any of its usual spellings, or a part of it, or not named.
func isUTF8(charset string) bool {
	switch strings.ToLower(strings.Trim(charset, ` '"`)) {
	case "", "utf-8", "utf8", "utf_8", "us-ascii", "ascii":
		return true
	default:
		return false
	}
}

// isEmptyObject reports whether a body says nothing: it is empty, white space, or `{}`.
func isEmptyObject(raw []byte) bool {
	text := bytes.TrimSpace(raw)
	if len(text) == 0 {
		return true
	}
	inside, isObject := bytes.CutPrefix(text, []byte("{"))
	return isObject && string(bytes.TrimSpace(inside)) == "}"
}

// marshaler speaks ProtoJSON. Fields that are not set are written with their defaults, so that an answer always has
// the same members; fields that the contract does not have are refused.
type marshaler struct{ runtime.JSONPb }

func newMarshaler() *marshaler {
	return &marshaler{runtime.JSONPb{MarshalOptions: protojson.MarshalOptions{EmitDefaultValues: true}}}
}

// Marshal implements runtime.Marshaler. The JSON ends with a line break, as a text file does: a terminal shows the
// prompt on the next line.
func (m *marshaler) Marshal(value any) ([]byte, error) {
	if encoded, ok := value.(encodedAnswer); ok {
		return encoded, nil
	}
	encoded, err := m.JSONPb.Marshal(value)
	return append(encoded, '\n'), err
}

// messageAt gives the message that target is or, where the body is one field of a request, that it points to: a new one
// if it points to none. It gives nil for anything else.
func messageAt(target any) proto.Message {
	if message, ok := target.(proto.Message); ok {
		return message
	}
	field := reflect.ValueOf(target)
	if field.Kind() != reflect.Pointer || field.Elem().Kind() != reflect.Pointer {
		return nil
	}
	if field.Elem().IsNil() {
		field.Elem().Set(reflect.New(field.Elem().Type().Elem()))
	}
	message, _ := reflect.TypeAssert[proto.Message](field.Elem())
	return message
}

// NewDecoder implements runtime.Marshaler.
func (m *marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(target any) error {
		body, isBody := r.(*jsonBody)
		message := messageAt(target)
		if !isBody || message == nil {
			return fmt.Errorf("cannot decode %T into %T", r, target)
		}
		if len(body.raw) == 0 {
			return io.EOF // An empty body is an empty message, to the generated handlers too.
		}
		if err := protojson.Unmarshal(body.raw, message); err != nil {
			body.fault = explain(body.raw, message.ProtoReflect().Descriptor())
			return body.fault
		}
		return nil
	})
}

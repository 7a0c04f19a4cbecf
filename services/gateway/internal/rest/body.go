package rest

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
	"github.com/gatehouse-auth/gatehouse/services/gateway/internal/edge"
)

// readBody reads the body of a call and checks it. The body of a read is not read, as it has no meaning (RFC 9110,
// section 9.3.1): a proxy that sends a read on behalf of another request may announce the body of that request, and
// never send it.
func (a *api) readBody(c *call, w http.ResponseWriter, r *http.Request) (err error) {
	if c.route.reads {
		return nil
	}
	reservation := a.edge.Requests.NewReservation(edge.ClientKey(r.Context()))
	c.releases = append(c.releases, reservation.Release)
	if c.body, err = readAll(w, r, c.route.MaxRequestSize, reservation); err != nil {
		return err
	}
	return c.route.checkBody(r.Header, c.body)
}

// readAll reads a body of at most limit bytes. One that is announced to be longer is not read at all.
func readAll(w http.ResponseWriter, r *http.Request, limit int64, reservation *edge.Reservation) ([]byte, error) {
	err := edge.CheckRequestSize(r.ContentLength, limit)
	var raw []byte
	if err == nil {
		raw, err = io.ReadAll(reservation.Reader(http.MaxBytesReader(w, r.Body, limit)))
	}
	if err == nil {
		return raw, nil
	}
	if r.ProtoMajor == 1 { // net/http would read what it can of the rest before it answers.
		w.Header().Set("Connection", "close")
	}
	return nil, readError(err)
}

func readError(err error) error {
	if full, noRoom := errors.AsType[*apierr.Error](err); noRoom {
		return full
	}
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return apierr.RequestTooLarge(err)
	}
	return apierr.MalformedRequest("the body is incomplete", err)
}

// checkBody reports an error unless a body is empty or one JSON value with that media type. An empty object where the
// call has no body needs no media type.
func (r *route) checkBody(header http.Header, raw []byte) error {
	if len(raw) == 0 || !r.takesBody && isEmptyObject(raw) {
		return nil
	}
	mediaType, ok := r.mediaType(header)
	if !ok {
		return apierr.UnsupportedMediaType()
	}
	if err := edge.CheckJSONNesting(raw, r.aroundBody); err != nil {
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
		return r.mask.checkMerge(raw)
	}
	return nil
}

// Media types of bodies.
const (
	jsonType       = "application/json"
	mergePatchType = "application/merge-patch+json" // RFC 7396, of a PATCH
)

// mediaType returns the media type of a body, and reports whether the route accepts it.
func (r *route) mediaType(header http.Header) (mediaType string, ok bool) {
	mediaType, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) { // Of the parameters, only a charset matters.
		return "", false
	}
	encoding := header.Get("Content-Encoding")
	ok = (mediaType == jsonType || mediaType == mergePatchType && r.mask != nil) && isUTF8(params["charset"]) &&
		(encoding == "" || strings.EqualFold(encoding, "identity"))
	return mediaType, ok
}

// isUTF8 reports whether a charset is absent, or one of the usual spellings of UTF-8 or its subset ASCII.
func isUTF8(charset string) bool {
	switch strings.ToLower(strings.Trim(charset, ` '"`)) {
	case "", "utf-8", "utf8", "utf_8", "us-ascii", "ascii":
		return true
	default:
		return false
	}
}

// isEmptyObject reports whether a body is empty, white space, or `{}`.
func isEmptyObject(raw []byte) bool {
	text := bytes.TrimSpace(raw)
	if len(text) == 0 {
		return true
	}
	inside, isObject := bytes.CutPrefix(text, []byte("{"))
	return isObject && string(bytes.TrimSpace(inside)) == "}"
}

// encodedAnswer is an answer that is JSON already, which the marshaler returns as it is.
type encodedAnswer []byte

// marshaler encodes and decodes ProtoJSON. It writes unset fields with their defaults, so that an answer always has the
// same members, and rejects fields that the contract does not have.
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

// messageAt returns the message that target is or, where the body is one field of a request, that it points to: a new
// one if it points to none. It returns nil for anything else.
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

// NewDecoder implements runtime.Marshaler, for a request whose body is its call.
func (m *marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(target any) error {
		c, isCall := r.(*call)
		message := messageAt(target)
		if !isCall || message == nil {
			return fmt.Errorf("cannot decode %T into %T", r, target)
		}
		if len(c.body) == 0 {
			return io.EOF // An empty body is an empty message, to the generated handlers too.
		}
		if protojson.Unmarshal(c.body, message) != nil {
			c.bodyError = mismatchError(c.body, message.ProtoReflect().Descriptor())
			return c.bodyError
		}
		return nil
	})
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

// document is the subset of OpenAPI 3.1 that protoc-gen-openapiv3 generates and this command adds. Decoding rejects
// unknown members, so that none is lost.
type document struct {
	OpenAPI    string            `json:"openapi"`
	Info       json.RawMessage   `json:"info"`
	Servers    json.RawMessage   `json:"servers,omitempty"`
	Tags       []tag             `json:"tags,omitempty"`
	Paths      ordered[pathItem] `json:"paths"`
	Components components        `json:"components"`
}

type tag struct {
	Name        string `json:"name"`
	Description prose  `json:"description,omitempty"`
}

type components struct {
	SecuritySchemes json.RawMessage      `json:"securitySchemes,omitempty"`
	Responses       map[string]*response `json:"responses,omitempty"`
	Schemas         map[string]*schema   `json:"schemas"`
}

// pathItem contains the operations of a path by HTTP method.
type pathItem = ordered[*operation]

type operation struct {
	OperationID string                `json:"operationId"`
	Tags        []string              `json:"tags,omitempty"`
	Summary     prose                 `json:"summary,omitempty"`
	Description prose                 `json:"description,omitempty"`
	Deprecated  bool                  `json:"deprecated,omitempty"`
	Security    []map[string][]string `json:"security"` // Empty means public.
	Parameters  []*parameter          `json:"parameters,omitempty"`
	RequestBody *requestBody          `json:"requestBody,omitempty"`
	Responses   map[string]*response  `json:"responses"`
}

type parameter struct {
	Name        string          `json:"name"`
	In          string          `json:"in"`
	Description prose           `json:"description,omitempty"`
	Required    bool            `json:"required,omitempty"`
	Deprecated  bool            `json:"deprecated,omitempty"`
	Schema      *schema         `json:"schema,omitempty"`
	Example     json.RawMessage `json:"example,omitempty"`
}

type requestBody struct {
	Description prose                 `json:"description,omitempty"`
	Required    bool                  `json:"required,omitempty"`
	Content     map[string]*mediaType `json:"content"`
}

type response struct {
	Ref         string                `json:"$ref,omitempty"`
	Description prose                 `json:"description,omitempty"`
	Headers     map[string]*header    `json:"headers,omitempty"`
	Content     map[string]*mediaType `json:"content,omitempty"`
}

type header struct {
	Description prose   `json:"description,omitempty"`
	Schema      *schema `json:"schema"`
}

type mediaType struct {
	Schema   *schema             `json:"schema,omitempty"`
	Example  json.RawMessage     `json:"example,omitempty"`
	Examples map[string]*example `json:"examples,omitempty"`
}

type example struct {
	Summary string          `json:"summary,omitempty"`
	Value   json.RawMessage `json:"value"`
}

// schema is a JSON Schema in the dialect of OpenAPI 3.1.
type schema struct {
	Ref                  string            `json:"$ref,omitempty"`
	Type                 json.RawMessage   `json:"type,omitempty"`
	Format               string            `json:"format,omitempty"`
	Title                string            `json:"title,omitempty"`
	Description          prose             `json:"description,omitempty"`
	Const                string            `json:"const,omitempty"`
	Enum                 []json.RawMessage `json:"enum,omitempty"`
	Default              json.RawMessage   `json:"default,omitempty"`
	Pattern              string            `json:"pattern,omitempty"`
	MinLength            uint64            `json:"minLength,omitempty"`
	MaxLength            *uint64           `json:"maxLength,omitempty"`
	Minimum              *int32            `json:"minimum,omitempty"`
	Maximum              *int32            `json:"maximum,omitempty"`
	MinItems             uint64            `json:"minItems,omitempty"`
	MaxItems             *uint64           `json:"maxItems,omitempty"`
	UniqueItems          bool              `json:"uniqueItems,omitempty"`
	Properties           ordered[*schema]  `json:"properties,omitempty"`
	Required             []string          `json:"required,omitempty"`
	AdditionalProperties json.RawMessage   `json:"additionalProperties,omitempty"`
	Items                *schema           `json:"items,omitempty"`
	AllOf                []*schema         `json:"allOf,omitempty"`
	AnyOf                []*schema         `json:"anyOf,omitempty"`
	OneOf                []*schema         `json:"oneOf,omitempty"`
	Discriminator        *discriminator    `json:"discriminator,omitempty"`
	Not                  *schema           `json:"not,omitempty"`
	ReadOnly             bool              `json:"readOnly,omitempty"`
	WriteOnly            bool              `json:"writeOnly,omitempty"`
	Deprecated           bool              `json:"deprecated,omitempty"`
	Examples             []json.RawMessage `json:"examples,omitempty"`
}

// discriminator selects the schema of a oneOf by the value of a property.
type discriminator struct {
	PropertyName string            `json:"propertyName"`
	Mapping      map[string]string `json:"mapping"`
}

// prose is Markdown with one line per paragraph. Comments in proto files are wrapped, and Swagger UI would show each
// newline.
type prose string

// UnmarshalText joins the lines of each paragraph. It preserves the lines of lists, code and headings.
func (p *prose) UnmarshalText(text []byte) error { //nolint:unparam // encoding.TextUnmarshaler
	var joined []string
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\r\n")
		last := len(joined) - 1
		if last >= 0 && plain(joined[last]) && plain(line) {
			joined[last] += " " + line
			continue
		}
		joined = append(joined, line)
	}
	*p = prose(strings.Join(joined, "\n"))
	return nil
}

// structural matches the start of a Markdown line that is not text of a paragraph.
var structural = regexp.MustCompile("^(?:$|\\s|[-*+] |[0-9]+[.)] |#|>|\\||```)")

func plain(line string) bool { return !structural.MatchString(line) }

func decodeDocument(raw []byte) (*document, error) {
	doc := &document{}
	return doc, decode(raw, doc)
}

// encodeDocument returns the document as indented JSON.
func encodeDocument(doc *document) ([]byte, error) {
	raw, err := encode(doc)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "  "); err != nil {
		return nil, fmt.Errorf("indent: %w", err)
	}
	return append(bytes.TrimSpace(out.Bytes()), '\n'), nil
}

func decode(raw []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

func encode(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false) // The document is not part of an HTML page.
	if err := encoder.Encode(value); err != nil {
		return nil, fmt.Errorf("encode JSON: %w", err)
	}
	return bytes.TrimSpace(out.Bytes()), nil
}

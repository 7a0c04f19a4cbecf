// Package openapi holds the OpenAPI document of the REST API, generated from api/.
package openapi

import _ "embed"

//go:embed openapi.json
var document []byte

// Document is the OpenAPI 3.1 document, as JSON. It must not be changed.
func Document() []byte { return document }

// Package openapi embeds the OpenAPI document of the REST API, which `make generate` creates from api/.
package openapi

import _ "embed"

//go:embed openapi.json
var document []byte

// Document returns the OpenAPI 3.1 document as JSON. The caller must not modify it.
func Document() []byte { return document }

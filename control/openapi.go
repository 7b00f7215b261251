package control

import (
	_ "embed"
	"slices"
)

//go:embed openapi.json
var definition []byte

// Definition is the OpenAPI 3.1 document of this API, as the server answers it
// at /v1/openapi.json.
func Definition() []byte { return slices.Clone(definition) }

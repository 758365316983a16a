package api_test

import (
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"github.com/berth-hpc/berth/api"
)

// TestContract checks that what is served is a valid OpenAPI document.
func TestContract(t *testing.T) {
	text, err := api.JSON()
	if err != nil {
		t.Fatal(err)
	}
	document, err := openapi3.NewLoader().LoadFromData(text)
	if err != nil {
		t.Fatal(err)
	}
	if err := document.Validate(t.Context()); err != nil {
		t.Error(err)
	}
}

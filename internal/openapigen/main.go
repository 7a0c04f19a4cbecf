// Command openapigen completes the OpenAPI document that protoc-gen-openapiv3 generates from the contract. It adds what
// that generator does not support: security requirements, bounds and examples of fields, and errors.
//
// All of them follow from the descriptors in gen/, so that the document matches the behavior of the services.
// docs/adr/0032-openapi-generation.md compares other generators.
package main

import (
	"fmt"
	"log"
	"os"
)

func main() {
	log.SetFlags(0)
	if len(os.Args) != 3 {
		log.Fatal("usage: openapigen MERGED COMPLETED")
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(merged, completed string) error {
	raw, err := os.ReadFile(merged)
	if err != nil {
		return fmt.Errorf("read the merged document: %w", err)
	}
	doc, err := decodeDocument(raw)
	if err != nil {
		return fmt.Errorf("read %s: %w", merged, err)
	}
	if err := complete(doc); err != nil {
		return fmt.Errorf("complete %s: %w", merged, err)
	}
	out, err := encodeDocument(doc)
	if err != nil {
		return fmt.Errorf("write the document: %w", err)
	}
	if err := os.WriteFile(completed, out, 0o644); err != nil { //nolint:gosec // a public document
		return fmt.Errorf("write the document: %w", err)
	}
	return nil
}

func complete(doc *document) error {
	// The base is last, because it replaces google.rpc.Status, which is not a message of the contract.
	for _, step := range []func(*document) error{completeSchemas, completeOperations, addBase} {
		if err := step(doc); err != nil {
			return err
		}
	}
	return nil
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// ordered is a JSON object whose members keep their order: readers see a document from top to bottom.
type ordered[V any] []member[V]

type member[V any] struct {
	name  string
	value V
}

func (o ordered[V]) get(name string) (V, bool) {
	at := slices.IndexFunc(o, func(m member[V]) bool { return m.name == name })
	if at < 0 {
		var none V
		return none, false
	}
	return o[at].value, true
}

// set replaces the member in its place, or adds it at the end.
func (o *ordered[V]) set(name string, value V) {
	at := slices.IndexFunc(*o, func(m member[V]) bool { return m.name == name })
	if at < 0 {
		*o = append(*o, member[V]{name, value})
		return
	}
	(*o)[at].value = value
}

func (o ordered[V]) sortByName() {
	slices.SortFunc(o, func(a, b member[V]) int { return strings.Compare(a.name, b.name) })
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *ordered[V]) UnmarshalJSON(raw []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return fmt.Errorf("want an object, got %v (%w)", start, err)
	}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return fmt.Errorf("read a member's name: %w", err)
		}
		name, _ := token.(string) // Always: JSON has no other names.
		var value V
		if err := decoder.Decode(&value); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		o.set(name, value)
	}
	return nil
}

// MarshalJSON implements json.Marshaler.
func (o ordered[V]) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for i, m := range o {
		name, err := encode(m.name)
		if err != nil {
			return nil, err
		}
		value, err := encode(m.value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = append(append(append(out, name...), ':'), value...)
	}
	return append(out, '}'), nil
}

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
)

// ordered is a JSON object that preserves the order of its members, for paths and properties, which readers of the
// document see from top to bottom.
type ordered[V any] []member[V]

type member[V any] struct {
	name  string
	value V
}

func (o ordered[V]) get(name string) (V, bool) {
	for _, m := range o {
		if m.name == name {
			return m.value, true
		}
	}
	var none V
	return none, false
}

// set replaces the member in its place, or appends it.
func (o *ordered[V]) set(name string, value V) {
	at := slices.IndexFunc(*o, func(m member[V]) bool { return m.name == name })
	if at < 0 {
		*o = append(*o, member[V]{name, value})
		return
	}
	(*o)[at].value = value
}

// UnmarshalJSON implements json.Unmarshaler.
func (o *ordered[V]) UnmarshalJSON(raw []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		return fmt.Errorf("not an object: %v (%w)", start, err)
	}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return fmt.Errorf("read the name of a member: %w", err)
		}
		name, _ := token.(string) // A name is always a string in JSON.
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
	members := make([][]byte, 0, len(o))
	for _, m := range o {
		object, err := encode(map[string]V{m.name: m.value})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		members = append(members, object[1:len(object)-1])
	}
	return slices.Concat([]byte("{"), bytes.Join(members, []byte(",")), []byte("}")), nil
}

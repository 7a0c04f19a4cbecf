package main

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/alecthomas/kong"
)

// errorCollector collects everything that is wrong with the settings, so that all of it is reported at once.
type errorCollector struct{ errs []error }

// add adds errors, except nil ones and those that have been added before.
func (c *errorCollector) add(errs ...error) {
	for _, err := range errs {
		known := func(other error) bool { return other.Error() == err.Error() }
		if err != nil && !slices.ContainsFunc(c.errs, known) {
			c.errs = append(c.errs, err)
		}
	}
}

// err returns all errors joined, or nil if there are none.
func (c *errorCollector) err() error { return errors.Join(c.errs...) }

// mappers returns options by which kong adds values that it cannot parse, where it would stop at the first.
func (c *errorCollector) mappers() []kong.Option {
	registry := kong.NewRegistry().RegisterDefaults()
	examples := []any{time.Duration(0), int(0), uint32(0)} // The types of settings besides text.
	options := make([]kong.Option, 0, len(examples))
	for _, example := range examples {
		kind := reflect.TypeOf(example)
		options = append(options, kong.TypeMapper(kind, c.mapper(registry.ForType(kind))))
	}
	return options
}

func (c *errorCollector) mapper(mapper kong.Mapper) kong.MapperFunc {
	return func(ctx *kong.DecodeContext, target reflect.Value) error {
		err := mapper.Decode(ctx, target)
		if err == nil {
			return nil
		}
		c.add(fmt.Errorf("--%s: %w", ctx.Value.Name, err))
		// The default replaces a value that cannot be parsed, so that no other check rejects it.
		return mapper.Decode(&kong.DecodeContext{Value: ctx.Value, Scan: kong.Scan(ctx.Value.Default)}, target)
	}
}

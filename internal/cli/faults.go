package cli

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// lateFaults collects values that cannot be read. kong alone would stop at the first.
type lateFaults struct{ faults []error }

// mappers read every kind of value that settings have other than text, and keep what is wrong for later.
func (f *lateFaults) mappers() []kong.Option {
	registry := kong.NewRegistry().RegisterDefaults()
	examples := []any{time.Duration(0), int(0), uint32(0)}
	options := make([]kong.Option, 0, len(examples))
	for _, example := range examples {
		kind := reflect.TypeOf(example)
		options = append(options, kong.TypeMapper(kind, f.late(registry.ForType(kind))))
	}
	return options
}

func (f *lateFaults) late(mapper kong.Mapper) kong.MapperFunc {
	return func(ctx *kong.DecodeContext, target reflect.Value) error {
		err := mapper.Decode(ctx, target)
		if err == nil {
			return nil
		}
		// kong reads some values twice; a fault is told once.
		fault := fmt.Errorf("--%s: %w", ctx.Value.Name, err)
		if !slices.ContainsFunc(f.faults, func(known error) bool { return known.Error() == fault.Error() }) {
			f.faults = append(f.faults, fault)
		}
		// The default stands in for what cannot be read, so that no other check finds fault with it.
		return mapper.Decode(&kong.DecodeContext{Value: ctx.Value, Scan: kong.Scan(ctx.Value.Default)}, target)
	}
}

// serviceLink matches the variables that Kubernetes sets in every container for a Service named gatehouse or
// gatehouse-something.
var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)$`)

// unknownVariables refuses environment variables that look like ours and are read by no command: a setting that was
// misspelled would silently keep its default.
func unknownVariables(model *kong.Application, environment []string) error {
	known := map[string]bool{}
	for _, command := range model.Leaves(false) {
		for _, flag := range command.Flags {
			for _, name := range flag.Envs {
				known[name] = true
			}
		}
	}
	var faults []error
	for _, variable := range environment {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, envPrefix+"_") && !known[name] && !serviceLink.MatchString(name) {
			faults = append(faults, fmt.Errorf("%s is not a setting of any command", name))
		}
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(faults...)
}

package main

import (
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

// unknownVariables reports an error for each environment variable that looks like ours and is read by no command: a
// setting that was misspelled would silently have its default.
func unknownVariables(model *kong.Application, environment []string) []error {
	var known []string
	for _, command := range model.Leaves(false) {
		for _, flag := range command.Flags {
			known = append(known, flag.Envs...)
		}
	}
	var faults []error
	for _, variable := range slices.Sorted(slices.Values(environment)) {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, envPrefix+"_") && !slices.Contains(known, name) && !serviceLink.MatchString(name) {
			faults = append(faults,
				fmt.Errorf("%s is not a setting of any command: did you mean %s?", name, closest(name, known)))
		}
	}
	return faults
}

// keyFlags are settings that must not be empty where they are set: a key that was lost on its way would be taken for
// one that was never given.
var keyFlags = regexp.MustCompile(`^(master-key|cache-key|service-token)(-file)?$`)

// emptyKeys reports an error for each key among the flags of a command whose variable is set and empty.
func emptyKeys(flags []*kong.Flag, environment []string) []error {
	var faults []error
	for _, flag := range flags {
		for _, name := range flag.Envs {
			if keyFlags.MatchString(flag.Name) && slices.Contains(environment, name+"=") {
				faults = append(faults, fmt.Errorf("%s is empty: set it, or unset it", name))
			}
		}
	}
	return faults
}

// closest returns the known name that the fewest changes of a letter make of name.
func closest(name string, known []string) string {
	return slices.MinFunc(known, func(a, b string) int { return editDistance(name, a) - editDistance(name, b) })
}

// editDistance returns how many letters of a must be inserted, deleted or replaced to make b (Levenshtein).
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// ignoredVariables returns the names of variables in the environment that are settings of other commands only.
func ignoredVariables(flags []*kong.Flag, environment []string) []string {
	var names []string
	for _, variable := range slices.Sorted(slices.Values(environment)) {
		name, _, _ := strings.Cut(variable, "=")
		reads := func(flag *kong.Flag) bool { return slices.Contains(flag.Envs, name) }
		if strings.HasPrefix(name, envPrefix+"_") && !serviceLink.MatchString(name) && !slices.ContainsFunc(flags, reads) {
			names = append(names, name)
		}
	}
	return names
}

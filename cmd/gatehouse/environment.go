package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// serviceLink matches the variables that Kubernetes sets in every container for a Service named gatehouse or
// gatehouse-something.
var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP)(_\w+)?)?)$`)

// unknownVariables returns an error for each environment variable with our prefix that no command reads: a misspelled
// setting would silently have its default.
func unknownVariables(model *kong.Application, environment []string) []error {
	var known []string
	for _, command := range model.Leaves(false) {
		for _, flag := range command.Flags {
			known = append(known, flag.Envs...)
		}
	}
	var problems []error
	for _, variable := range slices.Sorted(slices.Values(environment)) {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, envPrefix+"_") && !slices.Contains(known, name) && !serviceLink.MatchString(name) {
			problems = append(problems,
				fmt.Errorf("%s is not a setting of any command: did you mean %s?", name, closest(name, known)))
		}
	}
	return problems
}

// keyFlags are settings that must not be empty if they are set: a key that was lost on its way would pass for one that
// was never configured.
var keyFlags = regexp.MustCompile(`^(master-key|cache-key|service-token)(-file)?$`)

// emptyKeys returns an error for each key among the flags of a command whose variable is set and empty.
func emptyKeys(flags []*kong.Flag, environment []string) []error {
	var problems []error
	for _, flag := range flags {
		for _, name := range flag.Envs {
			if keyFlags.MatchString(flag.Name) && slices.Contains(environment, name+"=") {
				problems = append(problems, fmt.Errorf("%s is empty: set it, or unset it", name))
			}
		}
	}
	return problems
}

// closest returns the known name with the least edit distance to name.
func closest(name string, known []string) string {
	return slices.MinFunc(known, func(a, b string) int { return editDistance(name, a) - editDistance(name, b) })
}

// editDistance returns how many letters must be inserted, deleted or replaced to turn a into b (Levenshtein).
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

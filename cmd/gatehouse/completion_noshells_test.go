//go:build !servers

package main

// otherCompleters are none, as not every machine has other shells than bash.
var otherCompleters map[string][]string

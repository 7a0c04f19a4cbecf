//go:build !servers

package main

// otherCompleters is empty: not every machine has other shells than bash.
var otherCompleters map[string][]string

// Command gatehouse runs Gatehouse: all of it with `gatehouse up`, or one of its services.
package main

import (
	"os"

	"github.com/gatehouse-auth/gatehouse/internal/cli"
)

func main() {
	cli.CaptureLibraries()
	os.Exit(cli.Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// Seed writes users to import, as JSON lines, for measurements and trials:
//
//	go run -C test ./scale/seed -users 1000000 >users.jsonl
//	gatehouse users import users.jsonl --database-url …
//
// One of them is an administrator, root@example.com, with the password "correct horse".
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/gatehouse-auth/gatehouse/test/scale"
)

func main() {
	users := flag.Int("users", 1_000_000, "how many users to write: 1 or more")
	flag.Parse()
	if *users < 1 || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := scale.WriteUsers(os.Stdout, *users); err != nil {
		fmt.Fprintln(os.Stderr, "seed:", err)
		os.Exit(1)
	}
}

// Command commonpasswords makes the list of common passwords that the store refuses. It reads passwords from stdin, one
// a line, the most common first, with anything after a space left out. It writes those of at least eight characters to
// stdout: folded, sorted, each once, compressed.
package main

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	_ "github.com/trustelem/zxcvbn/frequency" // Pins the module whose data file `make common-passwords` reads.
)

const (
	minLength = 8
	maxWords  = 100_000
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "commonpasswords:", err)
		os.Exit(1)
	}
}

func run(from io.Reader, to io.Writer) error {
	var words []string
	lines := bufio.NewScanner(from)
	for lines.Scan() && len(words) < maxWords {
		// The source is ASCII: to fold it is to make it small.
		word, _, _ := strings.Cut(strings.ToLower(lines.Text()), " ")
		if utf8.RuneCountInString(word) >= minLength {
			words = append(words, word)
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	slices.Sort(words)
	compressed, err := gzip.NewWriterLevel(to, gzip.BestCompression)
	if err != nil {
		return err
	}
	for _, word := range slices.Compact(words) {
		if _, err := fmt.Fprintln(compressed, word); err != nil {
			return err
		}
	}
	return compressed.Close()
}

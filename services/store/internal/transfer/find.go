package transfer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
)

// FindHash returns the password hash of the first user with an address in a file of users to import. Its errors do not
// repeat the hash.
func FindHash(ctx context.Context, path, email string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // It was only read.
	canonical, lines := emailaddr.Canonical(email), newLineReader(file, 0, 0)
	for {
		line, _, err := lines.next()
		if errors.Is(err, io.EOF) {
			return "", fmt.Errorf("%s has no line for %s", path, email)
		}
		if err := cmp.Or(err, ctx.Err()); err != nil {
			return "", fmt.Errorf("read %s: %w", path, err)
		}
		record, _, _ := readUserRecord(line)
		if record.Email == "" || emailaddr.Canonical(record.Email) != canonical {
			continue
		}
		if record.PasswordHash == "" {
			return "", fmt.Errorf("line %d has no passwordHash", lines.lines)
		}
		return record.PasswordHash, nil
	}
}

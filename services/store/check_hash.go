package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
)

// CheckHash reports whether a password matches the hash that a file of users to import has for an address. It imports
// nothing. No error repeats the hash or the password.
func CheckHash(ctx context.Context, path, email, secret string) (bool, error) {
	hash, err := findHash(ctx, path, email)
	if err != nil {
		return false, err
	}
	return password.Matches(hash, secret, password.MaxHashMemory(password.MemoryLimit()))
}

// findHash returns the hash of the first user with an address.
func findHash(ctx context.Context, path, email string) (string, error) {
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

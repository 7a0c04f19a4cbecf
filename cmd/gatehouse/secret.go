package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
)

// secretFileLimit bounds a file that a secret is read from, in bytes.
const secretFileLimit = 4 << 10

// secret is a setting that must not be printed.
type secret string

// String returns a text without the secret.
func (s secret) String() string { return "(secret)" }

// LogValue returns a value without the secret.
func (s secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// orFile returns the secret, or the content of the file without the white space around it. It rejects both at once: one
// of them would be ignored.
func (s secret) orFile(path, flag string) (string, error) {
	switch {
	case path == "":
		return string(s), nil
	case s != "":
		return "", fmt.Errorf("%s and %s-file are both given: leave one out", flag, flag)
	}
	value, err := readSecretFile(path)
	if err != nil {
		return "", fmt.Errorf("%s-file: %w", flag, err)
	}
	return value, nil
}

// readSecretFile reads a secret of at most 4 KiB, without the white space around it.
func readSecretFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }() // It was only read.
	info, err := file.Stat()
	if err != nil {
		return "", err
	}
	// Files that everybody may read are accepted: that is how orchestrators mount secrets.
	if info.Mode().IsRegular() && info.Mode().Perm()&othersWrite != 0 {
		return "", fmt.Errorf("everybody can write to %s: run chmod o-w %s, and check what is in it", path, path)
	}
	content, err := io.ReadAll(io.LimitReader(file, secretFileLimit+1))
	if err != nil {
		return "", err
	}
	if len(content) > secretFileLimit { // A part of a secret would fail later, as a wrong password.
		return "", fmt.Errorf("%s is over %d bytes", path, secretFileLimit)
	}
	value := strings.TrimSpace(string(content))
	if value == "" {
		return "", fmt.Errorf("%s is empty", path)
	}
	return value, nil
}

// keySize is the size of every key that an operator makes, in bytes.
const keySize = 32

// decodeKey decodes a key in base64. The error contains the name, never the key.
func decodeKey(encoded, name string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) != keySize {
		return nil, fmt.Errorf("%s is not %d bytes in base64: make one with \"openssl rand -base64 32\"", name, keySize)
	}
	return key, nil
}

// keyOrFile returns a key, or nil if none is set. The error is for either.
func keyOrFile(given secret, path, flag, name string) ([]byte, error) {
	encoded, err := given.orFile(path, flag)
	if err != nil || encoded == "" {
		return nil, err
	}
	return decodeKey(encoded, name)
}

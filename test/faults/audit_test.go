//go:build long

package faults

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

// inspect looks an account up in the database, as an operation of its history: with it, what was acknowledged must be
// there, and what was refused must not.
func inspect(db *sql.DB, l *life, begin time.Time) (*operation, error) {
	o := &operation{kind: audit, call: time.Since(begin), via: "MariaDB"}
	err := db.QueryRow("SELECT id, version, full_name FROM users WHERE email = ?", l.address).
		Scan(&o.seen.id, &o.seen.version, &o.seen.value)
	if errors.Is(err, sql.ErrNoRows) {
		o.seen.gone = true
		err = db.QueryRow("SELECT version FROM user_tombstones WHERE id = ?", l.id).Scan(&o.seen.version)
	}
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	if err == nil {
		o.seen.listed = true
		o.seen.sessions, err = active(db, l.address)
	}
	o.done = time.Since(begin)
	if err != nil {
		return nil, fmt.Errorf("look up %s: %w", l.address, err)
	}
	return o, nil
}

// active returns the sessions of an account that stand, as an answer would.
func active(db *sql.DB, address string) (string, error) {
	rows, err := db.Query(`SELECT s.id FROM sessions s JOIN users u ON u.id = s.user_id
		WHERE u.email = ? AND s.end_time IS NULL AND s.generation = u.session_generation`, address)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var ids strings.Builder
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return "", err
		}
		ids.WriteString(id + " ")
	}
	return ids.String(), rows.Err()
}

// checkAddresses looks for two accounts of one address, for accounts without a password, and for such as nobody
// tried to make.
func checkAddresses(t *testing.T, db *sql.DB, addresses map[string]bool) {
	t.Helper()
	rows, err := db.Query(`SELECT LOWER(u.email), COUNT(*), COUNT(c.user_id)
		FROM users u LEFT JOIN credentials c ON c.user_id = u.id GROUP BY LOWER(u.email)`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var address string
		var users, passwords int
		if err := rows.Scan(&address, &users, &passwords); err != nil {
			t.Fatal(err)
		}
		if users != 1 || passwords != 1 || !addresses[address] {
			t.Errorf("VIOLATION: %s has %d accounts and %d passwords; known to the workers: %t",
				address, users, passwords, addresses[address])
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

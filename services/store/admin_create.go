package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/fieldrules"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// AdminConfig is what it takes to make an administrator by hand.
type AdminConfig struct {
	Database Database
	Password PasswordParams
	Email    string
	FullName string
}

// anyPassword stands for a password that is not known.
const anyPassword = "any password at all"

// Validate reports every fault at once. The password is not known yet.
func (c AdminConfig) Validate() error { return c.validate(anyPassword) }

func (c AdminConfig) validate(secret string) error {
	return errors.Join(c.Database.Validate(), c.Password.Validate(), c.check(secret))
}

// check wants what a sign-up is to have, by the rules of the contract. No error repeats the password.
func (c AdminConfig) check(secret string) error {
	if !utf8.ValidString(c.Email + c.FullName + secret) { // The rules take it for granted.
		return errors.New("the address, the name and the password must be UTF-8")
	}
	validator, err := fieldrules.New()
	if err != nil {
		return fmt.Errorf("load the rules of the contract: %w", err)
	}
	found, err := signUpViolations(validator,
		&gatehousev1.CreateUserRequest{Email: c.Email, FullName: c.FullName, Password: secret})
	passwords, policyErr := password.NewPolicy()
	if err == nil && len(found) == 0 && policyErr == nil {
		violation := passwords.Check(secret, password.Account{Email: c.Email, FullName: c.FullName})
		if violation != nil {
			found = append(found, fieldError{"password", violation.Description})
		}
	}
	faults := []error{err, policyErr}
	for _, fault := range found {
		faults = append(faults, fault)
	}
	return errors.Join(faults...)
}

// CreateAdmin makes an administrator, and gives the id. If the address has an account, nothing is changed.
func CreateAdmin(ctx context.Context, config AdminConfig, secret string, log *slog.Logger) (id string, err error) {
	if err := config.validate(secret); err != nil {
		return "", err
	}
	db, err := storage.Open(ctx, config.Database, log)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	hasher, err := password.New(ctx, password.Config{Params: config.Password, Cores: 1})
	if err != nil {
		return "", err
	}
	hash, err := hasher.Hash(ctx, secret)
	if err != nil {
		return "", err
	}
	now := db.Now().UTC().Truncate(time.Microsecond) // As exact as the database keeps it.
	user := account.User{
		ID: uuid.Must(uuid.NewV7()).String(), Email: emailaddr.Display(config.Email), FullName: displayName(config.FullName),
		CreateTime: now, UpdateTime: now, Version: 1, State: account.Active, Admin: true,
	}
	err = db.CreateUser(audit.WithActor(ctx, audit.Operator), user, hash)
	if errors.Is(err, storage.ErrEmailTaken) {
		return "", fmt.Errorf("%s has an account already: nothing was changed", user.Email)
	}
	return user.ID, err
}

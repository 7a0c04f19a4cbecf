package operator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/gatehouse-auth/gatehouse/services/store/config"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/contract"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// AdminConfig is what CreateAdmin needs beside the password.
type AdminConfig struct {
	Database config.Database
	Password config.PasswordParams
	Email    string
	FullName string
}

// ValidateAccount reports all problems except those of the database and the password.
func (c AdminConfig) ValidateAccount() error {
	return errors.Join(c.Password.Validate(), c.check(contract.AnyPassword))
}

func (c AdminConfig) validate(secret string) error {
	return errors.Join(c.Database.Validate(), c.Password.Validate(), c.check(secret))
}

// check applies the rules for a sign-up. No error repeats the password.
func (c AdminConfig) check(secret string) error {
	if !utf8.ValidString(c.Email + c.FullName + secret) { // The rules require it.
		return errors.New("the address, the name and the password must be UTF-8")
	}
	rules, err := contract.NewRules()
	if err != nil {
		return err
	}
	policy, err := password.NewPolicy()
	if err != nil {
		return err
	}
	found, err := rules.CheckSignUp(c.Email, c.FullName, secret)
	if err == nil && len(found) == 0 {
		if violation := policy.Check(secret, password.Account{Email: c.Email, FullName: c.FullName}); violation != nil {
			found = append(found, *violation)
		}
	}
	problems := []error{err}
	for _, violation := range found {
		problems = append(problems, violation)
	}
	return errors.Join(problems...)
}

// CreateAdmin creates an administrator, and returns the id. If the address has an account, nothing is changed.
func CreateAdmin(ctx context.Context, admin AdminConfig, secret string, log *slog.Logger) (id string, err error) {
	if err := admin.validate(secret); err != nil {
		return "", err
	}
	err = withDatabase(ctx, admin.Database, log, func(ctx context.Context, db *storage.Storage) (err error) {
		id, err = createAdmin(ctx, db, admin, secret)
		return err
	})
	return id, err
}

func createAdmin(ctx context.Context, db *storage.Storage, admin AdminConfig, secret string) (id string, err error) {
	hasher, err := password.New(ctx, password.Config{Params: admin.Password, Cores: 1})
	if err != nil {
		return "", err
	}
	hash, err := hasher.Hash(ctx, secret)
	if err != nil {
		return "", err
	}
	now := db.Now().UTC().Truncate(time.Microsecond) // As exact as the database stores it.
	user := account.User{
		ID: uuid.Must(uuid.NewV7()).String(), Email: emailaddr.Display(admin.Email),
		FullName: account.DisplayName(admin.FullName), CreateTime: now, UpdateTime: now, Version: 1,
		State: account.Active, Admin: true,
	}
	err = db.CreateUser(ctx, user, hash)
	if errors.Is(err, storage.ErrEmailTaken) {
		return "", fmt.Errorf("%s already has an account: nothing was changed", user.Email)
	}
	return user.ID, err
}

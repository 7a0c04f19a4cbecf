package storage

import (
	"context"

	"gorm.io/gorm"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/emailaddr"
)

// UserFilter selects users. A zero field selects all.
type UserFilter struct {
	EmailPrefix string // compared by emailaddr.CanonicalPrefix
	State       account.UserState
	Admins      bool   // admins only
	After       string // only users whose position is after this one
}

// ListedUser is a user of a list.
type ListedUser struct {
	account.User

	// Position is where the list goes on after this user. Of a user whose address another user has as well it is not
	// the canonical form of the address.
	Position string
}

// lastLetter is after every letter that an address can have.
const lastLetter = "\U0010FFFF"

// ListUsers returns users in the order of their canonical e-mail addresses: at most limit.
func (s *Storage) ListUsers(ctx context.Context, filter UserFilter, limit int) ([]ListedUser, error) {
	// One lower bound, not two: of two, SQLite begins to read at the first that is written.
	query := gorm.G[userRow](s.db).Where("canonical_email > ?", filter.After)
	if filter.EmailPrefix != "" {
		prefix := emailaddr.CanonicalPrefix(filter.EmailPrefix)
		if filter.After < prefix {
			query = gorm.G[userRow](s.db).Where("canonical_email >= ?", prefix)
		}
		query = query.Where("canonical_email < ?", prefix+lastLetter)
	}
	if filter.State != "" {
		query = query.Where("state = ?", string(filter.State))
	}
	if filter.Admins {
		query = query.Where("is_admin = ?", true)
	}
	rows, err := query.Order("canonical_email").Limit(limit).Find(ctx)
	if err != nil {
		return nil, s.explain(ctx, "list users", err, nil)
	}
	users := make([]ListedUser, 0, len(rows))
	for _, row := range rows {
		users = append(users, ListedUser{User: row.user(), Position: row.CanonicalEmail})
	}
	return users, nil
}

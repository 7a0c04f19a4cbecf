package storage

import (
	"context"

	"gorm.io/gorm"
)

// deleteOldest deletes the rows of a table, known by their key, whose column is before a value: at most limit, in the
// order of the column, which must be indexed. It tells how many.
func (s *Storage) deleteOldest(
	ctx context.Context, table, key, column string, before any, limit int,
) (deleted int64, err error) {
	err = s.write(ctx, func(db *gorm.DB) error {
		result := db.Exec(s.dialect.deleteOldest(table, key, column), before, limit)
		deleted = result.RowsAffected
		return result.Error
	})
	return deleted, s.explain(ctx, "delete the oldest "+table, err, nil)
}

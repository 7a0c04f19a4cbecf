package storage

import (
	"database/sql"
	"errors"

	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/migrator"
	"gorm.io/gorm/schema"
)

// sqliteDialector teaches gorm to write SQL for SQLite, on a pool of the driver without cgo. Why it is here is said in
// docs/adr/0001-sqlite-driver.md.
type sqliteDialector struct{ pool *sql.DB }

// errNoMigrator is what gorm's own migrations get.
var errNoMigrator = errors.New("the schema is made by the SQL files in migrations, not by gorm")

// Name is what gorm calls the dialect.
func (d sqliteDialector) Name() string { return sqliteScheme }

// Initialize makes gorm's statements of the clauses that SQLite knows.
func (d sqliteDialector) Initialize(db *gorm.DB) error {
	db.ConnPool = d.pool
	callbacks.RegisterDefaultCallbacks(db, &callbacks.Config{
		CreateClauses: []string{"INSERT", "VALUES", "ON CONFLICT", "RETURNING"},
		UpdateClauses: []string{"UPDATE", "SET", "FROM", "WHERE", "RETURNING"},
		DeleteClauses: []string{"DELETE", "FROM", "WHERE", "RETURNING"},
	})
	return nil
}

// DefaultValueOf is what stands for a column's default in an insert of several rows. SQLite knows no DEFAULT there.
func (d sqliteDialector) DefaultValueOf(*schema.Field) clause.Expression {
	return clause.Expr{SQL: "NULL"}
}

// BindVarTo writes the placeholder of a value.
func (d sqliteDialector) BindVarTo(writer clause.Writer, _ *gorm.Statement, _ any) {
	_ = writer.WriteByte('?')
}

// QuoteTo writes an identifier. A dot parts a table and a column.
func (d sqliteDialector) QuoteTo(writer clause.Writer, identifier string) {
	_ = writer.WriteByte('"')
	for _, char := range []byte(identifier) {
		switch char {
		case '"':
			_, _ = writer.WriteString(`""`)
		case '.':
			_, _ = writer.WriteString(`"."`)
		default:
			_ = writer.WriteByte(char)
		}
	}
	_ = writer.WriteByte('"')
}

// Explain gives the statement as it is logged: without its values, which may be secret.
func (d sqliteDialector) Explain(statement string, _ ...any) string { return statement }

// DataTypeOf would be the type of a column that gorm makes; it makes none.
func (d sqliteDialector) DataTypeOf(*schema.Field) string { return "" }

// Migrator refuses to make a schema.
func (d sqliteDialector) Migrator(db *gorm.DB) gorm.Migrator {
	return noMigrator{migrator.Migrator{Config: migrator.Config{DB: db, Dialector: d}}}
}

type noMigrator struct{ migrator.Migrator }

func (noMigrator) AutoMigrate(...any) error { return errNoMigrator }
func (noMigrator) CreateTable(...any) error { return errNoMigrator }

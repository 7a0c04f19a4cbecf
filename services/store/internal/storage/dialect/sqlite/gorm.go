package sqlite

import (
	"database/sql"
	"errors"

	"gorm.io/gorm"
	"gorm.io/gorm/callbacks"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/migrator"
	"gorm.io/gorm/schema"
)

// dialector makes gorm write SQL for SQLite, on a pool of the driver without cgo. The reasons for an own dialector are
// in docs/adr/0001-sqlite-driver.md.
type dialector struct{ pool *sql.DB }

// errNoMigrator is the error of gorm's own migrations.
var errNoMigrator = errors.New("the schema is made by the SQL files in migrations, not by gorm")

// Name returns gorm's name of the dialect.
func (d dialector) Name() string { return "sqlite" }

// Initialize registers the clauses that SQLite supports.
func (d dialector) Initialize(db *gorm.DB) error {
	db.ConnPool = d.pool
	callbacks.RegisterDefaultCallbacks(db, &callbacks.Config{
		CreateClauses: []string{"INSERT", "VALUES", "ON CONFLICT", "RETURNING"},
		UpdateClauses: []string{"UPDATE", "SET", "FROM", "WHERE", "RETURNING"},
		DeleteClauses: []string{"DELETE", "FROM", "WHERE", "RETURNING"},
	})
	return nil
}

// DefaultValueOf returns NULL for a column's default in an insert of several rows, where SQLite does not accept
// DEFAULT.
func (d dialector) DefaultValueOf(*schema.Field) clause.Expression {
	return clause.Expr{SQL: "NULL"}
}

// BindVarTo writes the bind parameter of a value, a question mark.
func (d dialector) BindVarTo(writer clause.Writer, _ *gorm.Statement, _ any) {
	_ = writer.WriteByte('?')
}

// QuoteTo writes a quoted identifier. A dot separates a table and a column.
func (d dialector) QuoteTo(writer clause.Writer, identifier string) {
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

// Explain returns the statement for a log: without its values, which may be secret.
func (d dialector) Explain(statement string, _ ...any) string { return statement }

// DataTypeOf returns "", because gorm creates no columns.
func (d dialector) DataTypeOf(*schema.Field) string { return "" }

// Migrator returns a migrator that creates no schema.
func (d dialector) Migrator(db *gorm.DB) gorm.Migrator {
	return noMigrator{migrator.Migrator{Config: migrator.Config{DB: db, Dialector: d}}}
}

type noMigrator struct{ migrator.Migrator }

func (noMigrator) AutoMigrate(...any) error { return errNoMigrator }
func (noMigrator) CreateTable(...any) error { return errNoMigrator }

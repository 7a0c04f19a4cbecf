package storage

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gorm.io/gorm/logger"
)

func TestMigrateSQLite(t *testing.T) {
	t.Run("only_the_owner_can_read_the_files", testMigrateSQLiteOnlyTheOwnerCanReadTheFiles)
	t.Run("accepts_any_path", testMigrateSQLiteAcceptsAnyPath)
}

func testMigrateSQLiteOnlyTheOwnerCanReadTheFiles(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "x.db")
	config := Config{URL: "sqlite:" + path}
	migrateSchema(t, config)
	addUser(t, open(t, config), "ada@example.com")
	for _, suffix := range []string{"", "-wal", "-shm"} {
		info, err := os.Stat(path + suffix)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", info.Name(), info.Mode())
		}
	}
	if files, err := os.ReadDir(folder); err != nil || len(files) != 3 {
		t.Errorf("the folder holds %v, %v", files, err)
	}
}

func testMigrateSQLiteAcceptsAnyPath(t *testing.T) {
	for _, name := range []string{"with space.db", "100%41.db", "a#b.db", "a&b=c.db", "é.db", "file:x.db"} {
		path := filepath.Join(t.TempDir(), name)
		config := Config{URL: "sqlite:" + path}
		migrateSchema(t, config)
		addUser(t, open(t, config), "ada@example.com")
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
	t.Chdir(t.TempDir())
	migrateSchema(t, Config{URL: "sqlite:relative.db"})
	addUser(t, open(t, Config{URL: "sqlite:relative.db"}), "ada@example.com")
}

func TestOpenSQLite(t *testing.T) {
	t.Run("reports_what_is_wrong_with_the_path", testOpenSQLiteReportsWhatIsWrongWithThePath)
}

func testOpenSQLiteReportsWhatIsWrongWithThePath(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, []byte("not a database, but as long as the header of one would be, at the least\n"+
		strings.Repeat("x", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	for _, test := range []struct{ path, open, migrate string }{
		{filepath.Join(folder, "missing", "x.db"), "missing of the database does not exist", "does not exist"},
		{filepath.Join(file, "x.db"), "file is not a folder", "file is not a folder"},
		{file, "not a database", "not a database"},
		{folder, "unable to open", "unable to open"},
		{filepath.Join(folder, "new.db"), `run "gatehouse migrate"`, ""},
	} {
		config := Config{URL: "sqlite:" + test.path}
		if _, err := Open(t.Context(), config, log); err == nil || !strings.Contains(err.Error(), test.open) {
			t.Errorf("Open %s: %v", test.path, err)
		}
		err := Migrate(t.Context(), config, log)
		if test.migrate == "" && err == nil {
			continue
		}
		if err == nil || !strings.Contains(err.Error(), test.migrate) {
			t.Errorf("Migrate %s: %v", test.path, err)
		}
	}
}

func TestPragmas(t *testing.T) {
	s := openNew(t, newSQLite(t))
	for range s.pool.Stats().MaxOpenConnections { // Each connection has its own.
		conn, err := s.pool.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		for pragma, wanted := range map[string]string{
			"journal_mode": "wal", "synchronous": "2", "foreign_keys": "1", "busy_timeout": "100",
		} {
			var got string
			err := conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got)
			if err != nil || got != wanted {
				t.Errorf("%s is %s, not %s, %v", pragma, got, wanted, err)
			}
		}
	}
}

func TestGorm(t *testing.T) {
	t.Run("creates_no_schema", testGormCreatesNoSchema)
	t.Run("logs_nothing", testGormLogsNothing)
}

func testGormCreatesNoSchema(t *testing.T) {
	s := openNew(t, newSQLite(t))
	for _, err := range []error{s.db.AutoMigrate(&userRow{}), s.db.Migrator().CreateTable(&userRow{})} {
		if err == nil || !strings.Contains(err.Error(), "not by gorm") {
			t.Errorf("error is %v", err)
		}
	}
}

// gorm's own log holds the values of statements.
func testGormLogsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		if s := openNew(t, config); s.db.Logger != logger.Discard {
			t.Errorf("gorm logs to %v", s.db.Logger)
		}
	})
}

// TestUnavailableSQLite does the same to a file.
func TestUnavailableSQLite(t *testing.T) {
	for name, pragmas := range map[string][2]string{
		"full":      {"PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000"},
		"read-only": {"PRAGMA query_only = on", "PRAGMA query_only = off"},
	} {
		t.Run(name, func(t *testing.T) {
			config := newSQLite(t)
			s, bystander := openNew(t, config), open(t, config)
			s.pool.SetMaxOpenConns(1) // So that this is set for the write that follows.
			exec(t, s, pragmas[0])
			var err error
			for i := 0; err == nil && i < 1000; i++ {
				user := newUser(fmt.Sprintf("%d@example.com", i))
				user.Metadata = strings.Repeat("x", 10_000)
				err = s.CreateUser(t.Context(), user, hash)
			}
			want(t, err, ErrUnavailable)
			if err := bystander.Ready(t.Context()); err != nil {
				t.Errorf("a bystander is not served: %v", err)
			}
			exec(t, s, pragmas[1])
			addUser(t, s, "after@example.com")
		})
	}
}

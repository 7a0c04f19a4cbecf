package testkit

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
)

// SharedMariaDB is one server for all tests of a package, each with a database of its own. It starts with the first
// that wants it. The zero value is ready; TestMain ends it by Stop.
type SharedMariaDB struct {
	start     sync.Once
	folder    string
	server    *MariaDB
	err       error
	databases atomic.Int64
}

// Server returns the running server.
func (s *SharedMariaDB) Server(tb testing.TB) *MariaDB {
	tb.Helper()
	s.start.Do(func() {
		if s.folder, s.err = os.MkdirTemp("", "gh"); s.err != nil {
			return
		}
		if s.server, s.err = NewMariaDB(s.folder); s.err == nil {
			s.err = s.server.Start()
		}
	})
	if s.err != nil {
		tb.Fatal(s.err)
	}
	return s.server
}

// NewDatabase makes an empty database and gives its URL, as Gatehouse's settings name it.
func (s *SharedMariaDB) NewDatabase(tb testing.TB) string {
	tb.Helper()
	name := fmt.Sprintf("test%d", s.databases.Add(1))
	if err := s.Server(tb).CreateDatabase(name); err != nil {
		tb.Fatal(err)
	}
	return s.server.URL(name)
}

// Stop ends the server, if it was started, and removes its files.
func (s *SharedMariaDB) Stop() error {
	if s.server == nil || s.err != nil {
		return s.err
	}
	s.server.Kill()
	return os.RemoveAll(s.folder)
}

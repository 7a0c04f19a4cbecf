//go:build servers

package storage

import (
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

// ahead is a dialect whose database is ahead by three quarters of a minute.
type ahead struct{ dialect.Dialect }

func (ahead) ClockQuery() string { return "SELECT UTC_TIMESTAMP(6) + INTERVAL 45 SECOND" }

func TestNow(t *testing.T) {
	t.Run("returns_the_time_of_the_database", testNowReturnsTheTimeOfTheDatabase)
}

func testNowReturnsTheTimeOfTheDatabase(t *testing.T) {
	s := openNew(t, newMariaDB(t))
	if off := time.Until(s.Now()).Abs(); off > 10*time.Second {
		t.Errorf("on one machine the clocks differ by %v", off)
	}
	s.dialect = ahead{s.dialect}
	if err := s.compareClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	if off := time.Until(s.Now()); off < 35*time.Second || off > 55*time.Second {
		t.Errorf("the database is ahead by 45 s, but the time by %v", off)
	}
	s.dialect = failing{s.dialect}
	if err := s.compareClock(t.Context()); err == nil {
		t.Fatal("the question was answered")
	}
	if off := time.Until(s.Now()); off < 35*time.Second {
		t.Errorf("without an answer the last one is forgotten: %v", off)
	}
}

type failing struct{ dialect.Dialect }

func (failing) ClockQuery() string { return "SELECT no_such_column" }

package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage/dialect"
)

func TestClassify(t *testing.T) {
	t.Run("no_such_file", func(t *testing.T) {
		d, err := New(filepath.Join(t.TempDir(), "x.db"), "")
		if err != nil {
			t.Fatal(err)
		}
		pool, err := d.connect(serveBusyTimeout)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = pool.Close() }()
		if err := pool.PingContext(t.Context()); d.Classify(err) != dialect.Unavailable {
			t.Errorf("%v is %v", err, d.Classify(err))
		}
	})
}

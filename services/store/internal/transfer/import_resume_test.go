package transfer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/contract"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// manyUsers are lines for several batches, of which every third is refused.
func manyUsers(lines int) string {
	var content strings.Builder
	for n := range lines {
		switch n % 3 {
		case 0:
			fmt.Fprintf(&content, `{"email":"user%d@example.com","fullName":"U","passwordHash":"%s"}`+"\n", n, bcryptHash)
		case 1:
			fmt.Fprintf(&content, `{"email":"USER%d@example.com","fullName":"Twice"}`+"\n", n-1)
		case 2:
			fmt.Fprintf(&content, `{"email":"user%d@example.com","fullName":"U","state":"DISABLED"}`+"\n", n)
		}
	}
	return content.String()
}

// TestImportResumesAfterInterruption ends the import after each of its batches, in the middle and at the commit, and
// checks at the end that it did all, once.
func TestImportResumesAfterInterruption(t *testing.T) {
	onEach(t, func(t *testing.T, database storage.Config) {
		i := newImport(t, database, manyUsers(3*batchLines))
		for range 2 {
			i.endAfterABatch(t)
			// What a killed process may have left behind the part of the report that counts.
			report, err := os.OpenFile(i.report, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = report.WriteString(`{"line":999,"reason":"NONSENSE"}` + "\n" + `{"li`)
			_ = report.Close()
		}
		if got := i.run(t); got != (Summary{Lines: 3 * batchLines, Imported: 2 * batchLines, Refused: batchLines}) {
			t.Errorf("it tells %+v", got)
		}
		if got := i.run(t); got != (Summary{Lines: 3 * batchLines, Imported: 2 * batchLines, Refused: batchLines, Already: true}) {
			t.Errorf("again it tells %+v", got)
		}
		reported := i.reported(t)
		if len(reported) != batchLines {
			t.Fatalf("the report has %d lines", len(reported))
		}
		for n, line := range reported {
			if line.Line != int64(3*n+2) || line.Reason != "EMAIL_TAKEN" || line.Email != fmt.Sprintf("USER%d@example.com", 3*n) {
				t.Errorf("line %d of the report is %+v", n, line)
			}
		}
		if exported := strings.Count(i.export(t, false), "\n"); exported != 2*batchLines {
			t.Errorf("there are %d users", exported)
		}
		var events bytes.Buffer
		db, err := storage.Open(t.Context(), database, i.logger())
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		_, err = ExportAuditEvents(t.Context(), db, nil, nil, &events)
		if got := strings.Count(events.String(), `"kind":"USER_IMPORTED","outcome":"SUCCESS","actor":"operator"`); err != nil || got != 2*batchLines {
			t.Errorf("there are %d events, %v", got, err)
		}
		info, err := os.Stat(i.report)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the report is %v, %v", info.Mode(), err)
		}
	})
}

// open returns an import that has not begun.
func (i *importTest) open(t *testing.T) *userImport {
	t.Helper()
	db, err := storage.Open(t.Context(), i.database, i.logger())
	if err != nil {
		t.Fatal(err)
	}
	rules, err := contract.NewRules()
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(i.file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(file.Close(), db.Close()) })
	return &userImport{db: db, file: file, checker: checker{rules: rules, maxMemory: 1 << 30}, log: i.logger()}
}

// endAfterABatch does one batch and ends in the next one, before it is committed, after its report is written.
func (i *importTest) endAfterABatch(t *testing.T) {
	t.Helper()
	under := i.open(t)
	ctx := audit.WithActor(t.Context(), audit.Operator)
	if err := errors.Join(under.begin(ctx, i.report), under.resume(i.report)); err != nil {
		t.Fatal(err)
	}
	defer under.report.file.Close()
	if err := under.step(ctx); err != nil {
		t.Fatal(err)
	}
	batch, err := under.read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ended := errors.New("the process ends here")
	_, err = under.db.ImportUsers(ctx, under.at, batch.users, time.Now(),
		func(results []error) (storage.Import, error) {
			if _, err := under.report.write(under.at.ReportBytes, batch.rejections(results)); err != nil {
				t.Error(err)
			}
			return storage.Import{}, ended
		})
	if !errors.Is(err, ended) {
		t.Fatalf("error is %v", err)
	}
}

func TestImportReportOfAnotherImport(t *testing.T) {
	i := newImport(t, sqliteDatabase(t), manyUsers(3))
	if err := os.WriteFile(i.report, []byte("precious\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := i.try(t, t.Context()); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("error is %v", err)
	}
	if content, err := os.ReadFile(i.report); err != nil || string(content) != "precious\n" || i.export(t, false) != "" {
		t.Errorf("the file is %q, %v", content, err)
	}
}

func TestImportAnotherReport(t *testing.T) {
	i := newImport(t, sqliteDatabase(t), manyUsers(3*batchLines))
	i.endAfterABatch(t)
	refused := func(words string) {
		t.Helper()
		if _, err := i.try(t, t.Context()); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("error is %v, want %q", err, words)
		}
	}
	right := i.report
	i.report = filepath.Join(t.TempDir(), "precious")
	content := strings.Repeat("precious\n", 10_000)
	if err := os.WriteFile(i.report, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	refused("was begun with the report " + right)
	if left, err := os.ReadFile(i.report); err != nil || string(left) != content {
		t.Errorf("a file that is not the report has %d bytes, %v", len(left), err)
	}

	i.report = right
	report, err := os.ReadFile(right)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(right, report[:10], 0o600); err != nil {
		t.Fatal(err)
	}
	refused("is shorter than")
	if err := os.Remove(right); err != nil {
		t.Fatal(err)
	}
	refused("is missing")
	if err := os.WriteFile(right, report, 0o600); err != nil {
		t.Fatal(err)
	}
	i.run(t)
}

// TestImportEmptyReport checks that an import which has rejected no line yet recognizes its report.
func TestImportEmptyReport(t *testing.T) {
	i := newImport(t, sqliteDatabase(t), `{"email":"ada@example.com","fullName":"Ada"}`)
	begun := i.open(t)
	right := i.report
	if err := begun.begin(t.Context(), right); err != nil {
		t.Fatal(err)
	}
	i.report = filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(i.report, []byte("precious\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := i.try(t, t.Context()); err == nil || !strings.Contains(err.Error(), right) {
		t.Errorf("error is %v", err)
	}
	if left, err := os.ReadFile(i.report); err != nil || string(left) != "precious\n" {
		t.Errorf("a file that is not the report is %q, %v", left, err)
	}
}

func TestImportResumesAfterStop(t *testing.T) {
	i := newImport(t, sqliteDatabase(t), manyUsers(30))
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := i.try(t, ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	if got := i.run(t); got.Imported != 20 || got.Refused != 10 {
		t.Errorf("it tells %+v", got)
	}
}

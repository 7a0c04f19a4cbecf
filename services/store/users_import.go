package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/fieldrules"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

const (
	// importBatch bounds a transaction: while it lasts, some milliseconds, no store can write to an SQLite database.
	importBatch = 200

	// importBatchBytes bounds it where the lines are long.
	importBatchBytes = 4 << 20

	// importStatements is how many statements as long as the lines of a batch fit into what the server takes: text may
	// become twice as long in one, and the last line of a batch exceeds its bound.
	importStatements = 4

	// importRow is what a row has in a statement beside the text of its line, at most, in bytes.
	importRow = 1 << 10

	// importProgress is how often an import tells how far it is.
	importProgress = 3 * time.Second
)

// ImportConfig is what it takes to import users.
type ImportConfig struct {
	Database Database
	File     string // of JSON lines
	Report   string // where to write why lines are refused; there must be no file, unless this import has begun it
	// MemoryLimit is what a process that verifies the hashes may use, in bytes; 0 is what this one may.
	MemoryLimit int64
}

// ImportSummary tells of an import that has finished.
type ImportSummary struct {
	Lines    int64 // of the file, empty ones among them
	Imported int64 // users
	Refused  int64 // lines
	Already  bool  // it was finished before, and nothing was done
}

// userImport is an import under way.
type userImport struct {
	db      *storage.Storage
	file    *os.File
	info    os.FileInfo
	checker recordChecker
	lines   *lineReader
	report  *importReport
	at      storage.Import
	log     *slog.Logger
}

// ImportUsers imports the users of a file. If it is interrupted, even by the end of the process, the same call goes on
// where it was: no user is imported twice and none left out, and the report has each refused line once. A file is known
// by its content, and is imported once.
func ImportUsers(ctx context.Context, config ImportConfig, log *slog.Logger) (summary ImportSummary, err error) {
	db, err := storage.Open(ctx, config.Database, log)
	if err != nil {
		return summary, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	validator, err := fieldrules.New()
	if err != nil {
		return summary, fmt.Errorf("load the rules of the contract: %w", err)
	}
	file, err := os.Open(config.File)
	if err != nil {
		return summary, err
	}
	defer func() { _ = file.Close() }() // It was only read.
	report, err := filepath.Abs(config.Report)
	if err != nil {
		return summary, err
	}
	limit := cmp.Or(config.MemoryLimit, password.MemoryLimit())
	checker := recordChecker{validator: validator, maxMemory: password.MaxHashMemory(limit)}
	i := &userImport{db: db, file: file, checker: checker, log: log}
	if err := i.begin(ctx, report); err != nil {
		return summary, err
	}
	summary.Already = i.at.Finished
	if !i.at.Finished {
		err = i.run(audit.WithActor(ctx, audit.Operator), report)
	}
	summary.Lines, summary.Imported, summary.Refused = i.at.Lines, i.at.Imported, i.at.Refused
	return summary, err
}

// begin finds out how far the import of the file is.
func (i *userImport) begin(ctx context.Context, report string) error {
	info, err := i.file.Stat()
	if err != nil {
		return err
	}
	if i.info = info; !i.info.Mode().IsRegular() {
		return fmt.Errorf("%s is no file: it is read twice, to find out whether it has been imported", i.file.Name())
	}
	digest, err := digestOf(ctx, i.file)
	if err != nil {
		return err
	}
	i.at, err = i.db.ReadImport(ctx, digest)
	if !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	if err := checkNoReport(report); err != nil {
		return err
	}
	if err := i.db.BeginImport(ctx, digest, report, i.db.Now()); err != nil {
		return err
	}
	i.at, err = i.db.ReadImport(ctx, digest) // Another process may have begun it with another report meanwhile.
	return err
}

// resume opens the file and the report where the import is.
func (i *userImport) resume(report string) (err error) {
	if _, err := i.file.Seek(i.at.Bytes, io.SeekStart); err != nil {
		return fmt.Errorf("read %s: %w", i.file.Name(), err)
	}
	i.lines = newLineReader(i.file, i.at.Bytes, i.at.Lines)
	if i.at.ReportPath != report {
		return fmt.Errorf("the import of this file was begun with the report %s: name it with --report", i.at.ReportPath)
	}
	i.report, err = openReport(report, i.at.ReportBytes)
	return err
}

// run imports what is left of the file.
func (i *userImport) run(ctx context.Context, report string) (err error) {
	if err := i.resume(report); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.report.file.Close()) }()
	if i.at.Bytes > 0 {
		i.log.InfoContext(ctx, "the import goes on", "lines", i.at.Lines, "imported", i.at.Imported, "refused", i.at.Refused)
	}
	began, told, lines := time.Now(), time.Now(), i.at.Lines
	for !i.at.Finished {
		if err := i.step(ctx); err != nil {
			return fmt.Errorf("after line %d: %w (the same command again goes on from there)", i.at.Lines, err)
		}
		if time.Since(told) < importProgress && !i.at.Finished {
			continue
		}
		told = time.Now()
		i.log.InfoContext(ctx, "importing users", "lines", i.at.Lines, "imported", i.at.Imported, "refused", i.at.Refused,
			"lines_per_second", int64(float64(i.at.Lines-lines)/time.Since(began).Seconds()),
			"share", fmt.Sprintf("%d %%", 100*i.at.Bytes/max(i.info.Size(), 1)))
	}
	return nil
}

// importedBatch is what is read of the file for one transaction.
type importedBatch struct {
	users     []account.UserWithHash
	lines     []int64   // of the users
	refused   []refusal // before the database is asked
	bytesRead int64     // of the file, after the batch
	linesRead int64
	last      bool
}

// step imports the next batch.
func (i *userImport) step(ctx context.Context) error {
	batch, err := i.read(ctx)
	if err != nil {
		return err
	}
	if info, err := i.file.Stat(); err != nil || info.Size() != i.info.Size() || !info.ModTime().Equal(i.info.ModTime()) {
		return errors.Join(err, fmt.Errorf("%s was changed during the import", i.file.Name()))
	}
	before := i.at
	after, err := i.db.ImportUsers(ctx, before, batch.users, i.db.Now(), func(results []error) (storage.Import, error) {
		refused := batch.refusals(results)
		// Before the commit: a crash between the two leaves lines too many, which are cut off when the import goes on.
		length, err := i.report.write(before.ReportBytes, refused)
		after := before
		after.Bytes, after.Lines, after.ReportBytes, after.Finished = batch.bytesRead, batch.linesRead, length, batch.last
		after.Refused += int64(len(refused))
		after.Imported += int64(len(batch.users) + len(batch.refused) - len(refused))
		return after, err
	})
	if err == nil {
		i.at = after
	}
	return err
}

// read reads a batch.
func (i *userImport) read(ctx context.Context) (importedBatch, error) {
	var batch importedBatch
	limit, err := i.db.MaxStatement(ctx)
	if err != nil {
		return batch, err
	}
	maxLines := min(importBatch, max(1, int(limit/importStatements/importRow)))
	maxBytes := min(importBatchBytes, limit/importStatements)
	now := i.db.Now().UTC().Truncate(time.Microsecond) // As exact as the database keeps it.
	for len(batch.users)+len(batch.refused) < maxLines && i.lines.bytes-i.at.Bytes < maxBytes {
		line, tooLong, err := i.lines.next()
		if errors.Is(err, io.EOF) {
			batch.last = true
			break
		}
		if err != nil {
			return batch, fmt.Errorf("read %s: %w", i.file.Name(), err)
		}
		if len(line) == 0 && !tooLong {
			continue
		}
		refused := &refusal{Reason: reasonLineTooLong, Description: fmt.Sprintf("is longer than %d bytes", maxImportLine)}
		var user account.UserWithHash
		if !tooLong {
			if user, refused, err = i.checker.read(line, now); err != nil {
				return batch, err
			}
		}
		if refused != nil {
			refused.Line = i.lines.lines
			batch.refused = append(batch.refused, *refused)
			continue
		}
		batch.users, batch.lines = append(batch.users, user), append(batch.lines, i.lines.lines)
	}
	batch.bytesRead, batch.linesRead = i.lines.bytes, i.lines.lines
	return batch, nil
}

// refusals are those of the batch in the order of the lines, when the database has said what it refuses.
func (b importedBatch) refusals(results []error) []refusal {
	all := slices.Clone(b.refused)
	for place, result := range results {
		refused := refusal{Line: b.lines[place], Email: b.users[place].User.Email}
		switch {
		case result == nil:
			continue
		case errors.Is(result, storage.ErrIDTaken):
			refused.Reason, refused.Description = reasonIDTaken, "the id belongs to another or a deleted user"
		default:
			refused.Reason, refused.Description = reasonEmailTaken, "the e-mail address already has an account"
		}
		all = append(all, refused)
	}
	slices.SortFunc(all, func(a, b refusal) int { return cmp.Compare(a.Line, b.Line) })
	return all
}

// digestOf gives the SHA-256 of a file from where it stands.
func digestOf(ctx context.Context, file *os.File) ([]byte, error) {
	const part = 64 << 20 // bytes, after which it is looked whether somebody still waits
	digest := sha256.New()
	for {
		_, err := io.CopyN(digest, file, part)
		if errors.Is(err, io.EOF) {
			return digest.Sum(nil), nil
		}
		if err := cmp.Or(err, ctx.Err()); err != nil {
			return nil, fmt.Errorf("read %s: %w", file.Name(), err)
		}
	}
}

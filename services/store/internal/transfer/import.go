// Package transfer moves users into a store and out of it, and audit events out of it, as lines of JSON.
//
// An import is resumable: each batch of lines is one transaction, which also writes how far the import is, and the
// report is on disk before the commit.
package transfer

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

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/contract"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/password"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

const (
	// batchLines bounds a transaction: while it lasts, some milliseconds, no store can write to an SQLite database.
	batchLines = 200

	// batchBytes bounds it where the lines are long.
	batchBytes = 4 << 20

	// batchStatements is how many statements as long as the lines of a batch fit into what the server accepts: text may
	// become twice as long in one, and the last line of a batch exceeds its bound.
	batchStatements = 4

	// batchRow is what a row has in a statement beside the text of its line, at most, in bytes.
	batchRow = 1 << 10

	// progressInterval is how often an import logs how far it is.
	progressInterval = 3 * time.Second
)

// Summary describes an import that has finished.
type Summary struct {
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
	checker checker
	lines   *lineReader
	report  *report
	at      storage.Import
	log     *slog.Logger
}

// ImportUsers imports the users of a file, and writes to a report why lines are rejected. There must be no file at the
// report's path, unless this import has begun it. memory is what a process that verifies the hashes may use, in bytes.
//
// If it is interrupted, even by the end of the process, the same call resumes: no user is imported twice and none left
// out, and the report has each rejected line once. A file is known by its content, and is imported once.
func ImportUsers(
	ctx context.Context, db *storage.Storage, path, reportPath string, memory int64, log *slog.Logger,
) (summary Summary, err error) {
	rules, err := contract.NewRules()
	if err != nil {
		return summary, err
	}
	file, err := os.Open(path)
	if err != nil {
		return summary, err
	}
	defer func() { _ = file.Close() }() // It was only read.
	if reportPath, err = filepath.Abs(reportPath); err != nil {
		return summary, err
	}
	checker := checker{rules: rules, maxMemory: password.MaxHashMemory(memory)}
	i := &userImport{db: db, file: file, checker: checker, log: log}
	if err := i.begin(ctx, reportPath); err != nil {
		return summary, err
	}
	summary.Already = i.at.Finished
	if !i.at.Finished {
		err = i.run(ctx, reportPath)
	}
	summary.Lines, summary.Imported, summary.Refused = i.at.Lines, i.at.Imported, i.at.Refused
	return summary, err
}

// begin reads how far the import of the file is, or begins one.
func (i *userImport) begin(ctx context.Context, reportPath string) error {
	info, err := i.file.Stat()
	if err != nil {
		return err
	}
	if i.info = info; !i.info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file: it is read twice, to find out whether it has been imported",
			i.file.Name())
	}
	digest, err := digestOf(ctx, i.file)
	if err != nil {
		return err
	}
	i.at, err = i.db.ReadImport(ctx, digest)
	if !errors.Is(err, storage.ErrNotFound) {
		return err
	}
	if err := checkNoReport(reportPath); err != nil {
		return err
	}
	if err := i.db.BeginImport(ctx, digest, reportPath, i.db.Now()); err != nil {
		return err
	}
	i.at, err = i.db.ReadImport(ctx, digest) // Another process may have begun it with another report meanwhile.
	return err
}

// resume opens the file and the report where the import is.
func (i *userImport) resume(reportPath string) (err error) {
	if _, err := i.file.Seek(i.at.Bytes, io.SeekStart); err != nil {
		return fmt.Errorf("read %s: %w", i.file.Name(), err)
	}
	i.lines = newLineReader(i.file, i.at.Bytes, i.at.Lines)
	if i.at.ReportPath != reportPath {
		return fmt.Errorf("the import of this file was begun with the report %s: name it with --report", i.at.ReportPath)
	}
	i.report, err = openReport(reportPath, i.at.ReportBytes)
	return err
}

// run imports what is left of the file.
func (i *userImport) run(ctx context.Context, reportPath string) (err error) {
	if err := i.resume(reportPath); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, i.report.file.Close()) }()
	if i.at.Bytes > 0 {
		i.log.InfoContext(ctx, "import resumed", "lines", i.at.Lines, "imported", i.at.Imported, "refused", i.at.Refused)
	}
	began, logged, lines := time.Now(), time.Now(), i.at.Lines
	for !i.at.Finished {
		if err := i.step(ctx); err != nil {
			return fmt.Errorf("after line %d: %w (run the same command again to resume)", i.at.Lines, err)
		}
		if time.Since(logged) < progressInterval && !i.at.Finished {
			continue
		}
		logged = time.Now()
		i.log.InfoContext(ctx, "importing users", "lines", i.at.Lines, "imported", i.at.Imported, "refused", i.at.Refused,
			"lines_per_second", int64(float64(i.at.Lines-lines)/time.Since(began).Seconds()),
			"share", fmt.Sprintf("%d %%", 100*i.at.Bytes/max(i.info.Size(), 1)))
	}
	return nil
}

// batch is what is read of the file for one transaction.
type batch struct {
	users     []account.UserWithHash
	lines     []int64     // of the users
	rejected  []Rejection // before the database is queried
	bytesRead int64       // of the file, after the batch
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
		rejected := batch.rejections(results)
		// Before the commit: a crash between the two leaves lines too many, which are cut off when the import resumes.
		length, err := i.report.write(before.ReportBytes, rejected)
		after := before
		after.Bytes, after.Lines, after.ReportBytes, after.Finished = batch.bytesRead, batch.linesRead, length, batch.last
		after.Refused += int64(len(rejected))
		after.Imported += int64(len(batch.users) + len(batch.rejected) - len(rejected))
		return after, err
	})
	if err == nil {
		i.at = after
	}
	return err
}

// read reads a batch.
func (i *userImport) read(ctx context.Context) (batch, error) {
	var batch batch
	limit, err := i.db.MaxStatement(ctx)
	if err != nil {
		return batch, err
	}
	maxLines := min(batchLines, max(1, int(limit/batchStatements/batchRow)))
	maxBytes := min(batchBytes, limit/batchStatements)
	now := i.db.Now().UTC().Truncate(time.Microsecond) // As exact as the database stores it.
	for len(batch.users)+len(batch.rejected) < maxLines && i.lines.bytes-i.at.Bytes < maxBytes {
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
		rejected := &Rejection{Reason: reasonLineTooLong, Description: fmt.Sprintf("is longer than %d bytes", maxLine)}
		var user account.UserWithHash
		if !tooLong {
			if user, rejected, err = i.checker.read(line, now); err != nil {
				return batch, err
			}
		}
		if rejected != nil {
			rejected.Line = i.lines.lines
			batch.rejected = append(batch.rejected, *rejected)
			continue
		}
		batch.users, batch.lines = append(batch.users, user), append(batch.lines, i.lines.lines)
	}
	batch.bytesRead, batch.linesRead = i.lines.bytes, i.lines.lines
	return batch, nil
}

// rejections returns those of the batch in the order of the lines, with those that the database has added.
func (b batch) rejections(results []error) []Rejection {
	all := slices.Clone(b.rejected)
	for i, result := range results {
		rejected := Rejection{Line: b.lines[i], Email: b.users[i].User.Email}
		switch {
		case result == nil:
			continue
		case errors.Is(result, storage.ErrIDTaken):
			rejected.Reason, rejected.Description = reasonIDTaken, "the id belongs to another or a deleted user"
		default:
			rejected.Reason = reasonEmailTaken
			rejected.Description = "the e-mail address already has an account"
		}
		all = append(all, rejected)
	}
	slices.SortFunc(all, func(a, b Rejection) int { return cmp.Compare(a.Line, b.Line) })
	return all
}

// digestOf returns the SHA-256 of a file from its offset on.
func digestOf(ctx context.Context, file *os.File) ([]byte, error) {
	const part = 64 << 20 // bytes, after which the context is checked
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

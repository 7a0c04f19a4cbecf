package transfer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Rejection is a line of the report: a line of the file that was not imported. It holds no value of that line except
// the e-mail address.
type Rejection struct {
	Line        int64  `json:"line"`
	Email       string `json:"email,omitempty"` // if the line has one that is an address
	Reason      string `json:"reason"`
	Description string `json:"description"`
}

// report is the file with a line for each line that was rejected.
type report struct{ file *os.File }

// checkNoReport reports an error if there is a file at the path: it may be the report of another import.
func checkNoReport(path string) error {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("the file %s exists: move it away, or name another one with --report", path)
	}
	return err
}

// openReport opens the report of an import that has written so many bytes of it. What follows them belongs to a batch
// that was not committed.
func openReport(path string, written int64) (*report, error) {
	flags := os.O_RDWR
	if written == 0 {
		flags |= os.O_CREATE
	}
	file, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) && written > 0 {
		return nil, fmt.Errorf("the report %s that the import has begun is missing: put it back", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the report: %w", err)
	}
	info, err := file.Stat()
	if err == nil && info.Size() < written {
		err = fmt.Errorf("the report %s is shorter than the import has left it", path)
	}
	if err == nil {
		err = syncFolder(filepath.Dir(path))
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &report{file}, nil
}

// write replaces what follows so many bytes of the report by the lines, and returns its new length. The report is on
// disk when it returns.
func (r *report) write(after int64, lines []Rejection) (int64, error) {
	if err := r.file.Truncate(after); err != nil {
		return 0, fmt.Errorf("cut the report: %w", err)
	}
	if len(lines) == 0 {
		return after, nil
	}
	var written bytes.Buffer
	encoder := json.NewEncoder(&written)
	encoder.SetEscapeHTML(false)
	for _, line := range lines {
		if err := encoder.Encode(line); err != nil {
			return 0, fmt.Errorf("write the report: %w", err)
		}
	}
	_, err := r.file.WriteAt(written.Bytes(), after)
	if err == nil {
		err = r.file.Sync()
	}
	if err != nil {
		return 0, fmt.Errorf("write the report: %w", err)
	}
	return after + int64(written.Len()), nil
}

// syncFolder makes sure that the names of files in a folder are on disk.
func syncFolder(path string) error {
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

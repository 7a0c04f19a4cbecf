package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// importReport is the file with a line for each line that was refused.
type importReport struct{ file *os.File }

// checkNoReport wants that there is no file where the report is to be: it may be the report of another import.
func checkNoReport(path string) error {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("there is a file %s already: move it away, or name another one with --report", path)
	}
	return err
}

// openReport opens the report of an import that has written so many bytes of it. What is behind them is of a batch that
// did not come to its end.
func openReport(path string, written int64) (*importReport, error) {
	flags := os.O_RDWR
	if written == 0 {
		flags |= os.O_CREATE
	}
	file, err := os.OpenFile(path, flags, 0o600)
	if errors.Is(err, fs.ErrNotExist) && written > 0 {
		return nil, fmt.Errorf("the report %s that the import has begun is not there any more", path)
	}
	if err != nil {
		return nil, fmt.Errorf("open the report: %w", err)
	}
	report := &importReport{file}
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
	return report, nil
}

// write makes the report end with these lines, after so many bytes that stay, and gives its length. The report is on
// disk when it returns.
func (r *importReport) write(after int64, lines []refusal) (int64, error) {
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

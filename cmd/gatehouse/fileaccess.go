package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	othersWrite      = 0o002
	groupOthersWrite = 0o022
	groupOthers      = 0o077
)

// checkFolder reports an error unless nobody else can change what is in the folder: it must be owned by this user or
// root, and neither the group nor others may write to it. Nobody else may exchange it either: each folder above it, by
// the path and by what symbolic links lead to, must not be writable by everybody, unless its sticky bit protects what
// is in it, and each link must be owned by this user or root. Group-writable folders above are accepted: a
// folder that replaces this one through them would belong to another user and be rejected.
func checkFolder(path string) error {
	absolute, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("find the current folder: %w", err)
	}
	resolved, err := filepath.EvalSymlinks(absolute)
	if err != nil {
		return err
	}
	info, err := os.Stat(resolved)
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", path)
	case !isOursOrRoots(info):
		return fmt.Errorf("%s belongs to another user, who can change what is in it: run chown, or name another folder", path)
	case info.Mode().Perm()&groupOthersWrite != 0:
		return fmt.Errorf("others can write to %s: run chmod go-w %s, and make sure that what is in it is yours", path, path)
	}
	return errors.Join(checkParents(absolute), checkParents(resolved))
}

// checkParents reports an error if anybody could exchange a part of the path.
func checkParents(path string) error {
	for part := path; part != filepath.Dir(part); part = filepath.Dir(part) {
		info, err := os.Lstat(part)
		if err != nil {
			return err
		}
		if info.Mode()&fs.ModeSymlink != 0 && !isOursOrRoots(info) {
			return fmt.Errorf("%s is a link of another user, who can let it lead elsewhere", part)
		}
		parent, err := os.Stat(filepath.Dir(part))
		if err != nil {
			return err
		}
		if parent.Mode().Perm()&othersWrite != 0 && parent.Mode()&fs.ModeSticky == 0 {
			return fmt.Errorf("everybody can write to %s, and so exchange %s: run chmod o-w %s, or name another folder",
				filepath.Dir(part), part, filepath.Dir(part))
		}
	}
	return nil
}

// checkFile reports an error if the file is there and somebody else may have written it, or may.
func checkFile(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", path)
	case !isOursOrRoots(info):
		return fmt.Errorf("%s belongs to another user: run chown, or bring it back from a backup", path)
	case info.Mode().Perm()&groupOthersWrite != 0:
		return fmt.Errorf("others can write to %s: run chmod 600 %s, and make sure that it is yours", path, path)
	default:
		return nil
	}
}

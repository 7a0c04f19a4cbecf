package main

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
)

// dataFolder is the folder in which `up` keeps its database and master key.
type dataFolder string

func (d dataFolder) database() string  { return filepath.Join(string(d), "gatehouse.db") }
func (d dataFolder) masterKey() string { return filepath.Join(string(d), "master.key") }

// files are those that the folder may have.
func (d dataFolder) files() []string {
	database := d.database()
	return []string{d.masterKey(), database, database + "-wal", database + "-shm", d.lockFile()}
}

func (d dataFolder) lockFile() string { return filepath.Join(string(d), "lock") }

// check reports an error if another user can write, or could have written, to the folder or one of its files: with
// write access to the database one can create administrators. It removes read permissions of others from the database,
// which contains password hashes.
func (d dataFolder) check() error {
	if err := checkFolder(string(d)); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	var errs []error
	for _, path := range d.files() {
		err := checkFile(path)
		if err == nil && path != d.masterKey() { // One that was readable may be known: loadMasterKey refuses it.
			err = makePrivate(path)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("data folder: %w", err))
		}
	}
	return errors.Join(errs...)
}

// makePrivate removes the permissions of others from a file, if it is there.
func makePrivate(path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Mode().Perm()&groupOthers == 0 {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Chmod(path, info.Mode().Perm()&^groupOthers)
}

// lock makes the folder, if it is not there, and takes it for this process: two processes on one folder would each have
// a memory cache of their own, and show what the other has changed since. The lock ends with the process. A folder that
// others may change is refused.
func (d dataFolder) lock() (unlock func(), err error) {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	if err := d.check(); err != nil {
		return nil, err
	}
	lock := flock.New(d.lockFile(), flock.SetPermissions(0o600))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the data folder: %w", err)
	}
	if !locked {
		return nil, fmt.Errorf("another gatehouse is running on %s: stop it, or name another folder with --data", string(d))
	}
	return func() { _ = lock.Close() }, nil // It ends with the process at the latest.
}

// loadMasterKey reads the master key, and makes it at the first start. A file that others can read is refused: who has
// the key and the database can make tokens.
func (d dataFolder) loadMasterKey() ([]byte, error) {
	info, err := os.Stat(d.masterKey())
	if errors.Is(err, fs.ErrNotExist) {
		return d.makeMasterKey()
	}
	if err != nil {
		return nil, fmt.Errorf("read the master key: %w", err)
	}
	if info.Mode().Perm()&groupOthers != 0 {
		return nil, fmt.Errorf("the master key %s can be read by others: run chmod 600 %s", d.masterKey(), d.masterKey())
	}
	encoded, err := readSecretFile(d.masterKey())
	if err != nil {
		return nil, fmt.Errorf("read the master key: %w", err)
	}
	return decodeKey(encoded, "the master key")
}

// makeMasterKey makes the key for a folder that has no database yet. A new key beside a database would not open it, and
// would hide that the old one is lost. The file appears whole or not at all.
func (d dataFolder) makeMasterKey() ([]byte, error) {
	if _, err := os.Stat(d.database()); !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is missing beside a database: bring it back from a backup, or give the key as "+
			"GATEHOUSE_MASTER_KEY", d.masterKey())
	}
	key := storeconfig.NewMasterKey()
	file, err := os.CreateTemp(string(d), "master.key.*") // Its mode is 0600.
	if err != nil {
		return nil, fmt.Errorf("make the master key: %w", err)
	}
	_, err = file.WriteString(base64.StdEncoding.EncodeToString(key) + "\n")
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return nil, fmt.Errorf("write the master key: %w", err)
	}
	if err := os.Rename(file.Name(), d.masterKey()); err != nil {
		return nil, fmt.Errorf("put the master key in place: %w", err)
	}
	return key, d.sync()
}

// sync makes sure that the names of files in the folder are on disk.
func (d dataFolder) sync() error {
	folder, err := os.Open(string(d))
	if err != nil {
		return fmt.Errorf("sync the data folder: %w", err)
	}
	return errors.Join(folder.Sync(), folder.Close())
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
)

func TestMasterKeyFile(t *testing.T) {
	folder := dataFolder(t.TempDir())
	first, err := folder.loadMasterKey()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(folder.masterKey())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || len(first) != storeconfig.MasterKeySize || bytes.Equal(first, make([]byte, len(first))) {
		t.Errorf("mode is %v, key has %d bytes", info.Mode(), len(first))
	}
	second, err := folder.loadMasterKey()
	if err != nil || !bytes.Equal(first, second) {
		t.Errorf("the second start has another key: %v", err)
	}
	another, err := dataFolder(t.TempDir()).loadMasterKey()
	if err != nil || bytes.Equal(first, another) {
		t.Errorf("another folder has the same key: %v", err)
	}
}

func TestMasterKeyFileReadableByOthers(t *testing.T) {
	folder := dataFolder(t.TempDir())
	if _, err := folder.loadMasterKey(); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o644, 0o640, 0o604, 0o660, 0o602, 0o601} {
		if err := os.Chmod(folder.masterKey(), mode); err != nil {
			t.Fatal(err)
		}
		if key, err := folder.loadMasterKey(); err == nil || !strings.Contains(err.Error(), "chmod 600") || key != nil {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	for _, mode := range []os.FileMode{0o600, 0o400} {
		if err := os.Chmod(folder.masterKey(), mode); err != nil {
			t.Fatal(err)
		}
		if _, err := folder.loadMasterKey(); err != nil {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}

func TestMasterKeyFileInvalid(t *testing.T) {
	for name, content := range map[string]string{"empty": "", "short": hidden, "long": strings.Repeat("A", 88)} {
		folder := dataFolder(t.TempDir())
		if err := os.WriteFile(folder.masterKey(), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := folder.loadMasterKey(); err == nil {
			t.Errorf("%s: it is taken", name)
		} else if strings.Contains(err.Error(), hidden) {
			t.Errorf("%s: a secret is printed: %v", name, err)
		}
		if left, err := os.ReadFile(folder.masterKey()); err != nil || string(left) != content {
			t.Errorf("%s: the file is now %q, %v", name, left, err)
		}
	}
	if _, err := dataFolder(filepath.Join(t.TempDir(), "no", "such", "folder")).loadMasterKey(); err == nil {
		t.Error("a key in a folder that is not there is made")
	}
}

func TestMasterKeyFileLost(t *testing.T) {
	folder := dataFolder(t.TempDir())
	if err := os.WriteFile(folder.database(), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := folder.loadMasterKey(); err == nil || !strings.Contains(err.Error(), "is missing beside a database") {
		t.Errorf("loadMasterKey = %v", err)
	}
	if _, err := os.Stat(folder.masterKey()); err == nil {
		t.Error("a key is made all the same")
	}
}

func TestDataFolderLock(t *testing.T) {
	folder := dataFolder(filepath.Join(t.TempDir(), "new"))
	unlock, err := folder.lock()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := folder.lock(); err == nil || !strings.Contains(err.Error(), "another gatehouse is running") {
		t.Errorf("the second lock = %v", err)
	}
	unlock()
	again, err := folder.lock()
	if err != nil {
		t.Fatalf("after unlock: %v", err)
	}
	again()
}

func TestDataFolder(t *testing.T) {
	// newFolder makes a folder below another one, with what a first start leaves there.
	newFolder := func(t *testing.T) dataFolder {
		t.Helper()
		folder := dataFolder(filepath.Join(t.TempDir(), "above", "data"))
		unlock, err := folder.lock()
		if err != nil {
			t.Fatal(err)
		}
		unlock()
		if _, err := folder.loadMasterKey(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(folder.database(), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return folder
	}
	above := func(d dataFolder) string { return filepath.Dir(string(d)) }
	for _, test := range []struct {
		name string
		path func(dataFolder) string
		mode os.FileMode
		want string // in the error; none if it is empty
	}{
		{"is accepted as it is made", func(d dataFolder) string { return string(d) }, 0o700, ""},
		{"is accepted if others can read its list", func(d dataFolder) string { return string(d) }, 0o755, ""},
		{"is refused if everybody can write to it", func(d dataFolder) string { return string(d) }, 0o707, "others can write"},
		{"is refused if its group can write to it", func(d dataFolder) string { return string(d) }, 0o770, "others can write"},
		{"is refused if only its sticky bit protects it", func(d dataFolder) string { return string(d) }, 0o707 | os.ModeSticky, "others can write"},
		{"is refused below one that everybody can write to", above, 0o707, "everybody can write"},
		{"is accepted below one with a sticky bit", above, 0o777 | os.ModeSticky, ""},
		{"is accepted below one that a group can write to", above, 0o770, ""},
		{"is refused with a database that everybody can write to", dataFolder.database, 0o602, "others can write"},
		{"is refused with a database that its group can write to", dataFolder.database, 0o660, "others can write"},
		{"is refused with a lock that everybody can write to", dataFolder.lockFile, 0o606, "others can write"},
		{"is refused with a master key that everybody can write to", dataFolder.masterKey, 0o602, "others can write"},
	} {
		t.Run(test.name, func(t *testing.T) {
			folder := newFolder(t)
			if err := os.Chmod(test.path(folder), test.mode); err != nil {
				t.Fatal(err)
			}
			unlock, err := folder.lock()
			if err == nil {
				unlock()
			}
			if (err == nil) != (test.want == "") || err != nil && (!strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "chmod")) {
				t.Errorf("lock = %v, want an error with %q", err, test.want)
			}
		})
	}
	t.Run("has_a_database_that_others_could_read_and_can_no_more", func(t *testing.T) {
		folder := newFolder(t)
		if err := os.Chmod(folder.database(), 0o644); err != nil {
			t.Fatal(err)
		}
		unlock, err := folder.lock()
		if err != nil {
			t.Fatal(err)
		}
		unlock()
		if info, err := os.Stat(folder.database()); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("the mode is %v, %v", info.Mode(), err)
		}
	})
	t.Run("is_refused_by_a_link_that_leads_through_one_that_everybody_can_write_to", func(t *testing.T) {
		folder := newFolder(t)
		if err := os.Chmod(above(folder), 0o707); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(string(folder), link); err != nil {
			t.Fatal(err)
		}
		if _, err := dataFolder(link).lock(); err == nil || !strings.Contains(err.Error(), "everybody can write") {
			t.Errorf("lock = %v", err)
		}
	})
	t.Run("is_accepted_by_a_link_of_our_own", func(t *testing.T) {
		link := filepath.Join(t.TempDir(), "link")
		if err := os.Symlink(string(newFolder(t)), link); err != nil {
			t.Fatal(err)
		}
		unlock, err := dataFolder(link).lock()
		if err != nil {
			t.Fatal(err)
		}
		unlock()
	})
	t.Run("is_not_a_file", func(t *testing.T) {
		if _, err := dataFolder(write(t, "")).lock(); err == nil {
			t.Error("it is accepted")
		}
	})
	t.Run("of_another_user_is_refused", func(t *testing.T) {
		folder := newFolder(t)
		if own := os.Geteuid(); own != 0 { // Only root can give a folder away.
			info, err := os.Stat(string(folder))
			if err != nil || !isOwner(own, info) || isOwner(own+1, info) || isOwner(0, info) {
				t.Errorf("the owner is not told: %v", err)
			}
			return
		}
		if err := os.Chown(string(folder), 12345, 12345); err != nil {
			t.Fatal(err)
		}
		if _, err := folder.lock(); err == nil || !strings.Contains(err.Error(), "another user") {
			t.Errorf("lock = %v", err)
		}
	})
}

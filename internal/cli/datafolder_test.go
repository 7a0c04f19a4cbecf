package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	storeservice "github.com/gatehouse-auth/gatehouse/services/store"
)

func TestTheMasterKeyIsMadeOnceAndForItsOwnerOnly(t *testing.T) {
	folder := dataFolder(t.TempDir())
	first, err := folder.loadMasterKey()
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(folder.masterKey())
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 || len(first) != storeservice.MasterKeySize || bytes.Equal(first, make([]byte, len(first))) {
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

func TestAMasterKeyThatOthersCanReadIsRefused(t *testing.T) {
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

func TestAMasterKeyThatIsNoneIsRefusedAndLeft(t *testing.T) {
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

func TestALostMasterKeyIsNotReplacedBesideADatabase(t *testing.T) {
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

func TestADataFolderServesOneProcess(t *testing.T) {
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

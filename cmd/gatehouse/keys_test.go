package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	storeservice "github.com/gatehouse-auth/gatehouse/services/store"
	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
)

// otherMasterKey is one that is right, and another than masterKey.
var otherMasterKey = base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, storeconfig.MasterKeySize))

// newKeys makes a database with one signing key, which a store has made, and gives the settings that name it.
func newKeys(t *testing.T) (settings []string) {
	t.Helper()
	database := "--database-url=sqlite:" + filepath.Join(t.TempDir(), "gatehouse.db")
	if code, _, stderr := run(t, []string{"migrate", database}); code != exitOK {
		t.Fatal(stderr)
	}
	startStore(t, database, "--master-key="+masterKey)
	return []string{database, "--master-key=" + masterKey}
}

// startStore opens a store, as it does when it starts, and closes it.
func startStore(t *testing.T, settings ...string) {
	t.Helper()
	cheap := []string{"store", "--argon2-memory=7168", "--argon2-iterations=1", "--service-token=" + serviceToken}
	chosen := parsed(t, append(cheap, settings...))
	service, err := storeservice.New(t.Context(), chosen.(*store).config, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	listener := (&listeners{}).open(t.Context(), "127.0.0.1:0", "--listen")
	if err := service.Run(stopped, listener); err != nil {
		t.Fatal(err)
	}
}

// keysCommand runs one of the commands, which must succeed.
func keysCommand(t *testing.T, args []string, settings ...string) string {
	t.Helper()
	code, stdout, stderr := run(t, slices.Concat([]string{"keys"}, args, settings))
	if code != exitOK {
		t.Fatalf("keys %v ends with %d: %s", args, code, stderr)
	}
	if strings.Contains(stdout+stderr, masterKey) || strings.Contains(stdout+stderr, otherMasterKey) {
		t.Errorf("a secret is printed: %s%s", stdout, stderr)
	}
	return stdout
}

// listed returns the lines of the list without its head, each as its columns.
func listed(t *testing.T, settings []string) [][]string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(keysCommand(t, []string{"list"}, settings[0])), "\n")
	columns := regexp.MustCompile(` {2,}`)
	if head := columns.Split(lines[0], -1); !slices.Equal(head,
		[]string{"KID", "ALGORITHM", "STATE", "CREATED", "SIGNS FROM", "LEAVES AT"}) {
		t.Errorf("the head is %q", head)
	}
	var rows [][]string
	for _, line := range lines[1:] {
		rows = append(rows, columns.Split(line, -1))
	}
	return rows
}

func states(rows [][]string) string {
	var found []string
	for _, row := range rows {
		found = append(found, row[1]+" "+row[2])
	}
	return strings.Join(found, ", ")
}

func TestKeysList(t *testing.T) {
	settings := newKeys(t)
	rows := listed(t, settings)
	if len(rows) != 1 || len(rows[0]) != 6 || len(rows[0][0]) != 43 || rows[0][1] != "ES256" || rows[0][2] != "active" ||
		rows[0][3] != rows[0][4] || rows[0][5] != "-" {
		t.Fatalf("the list is %q", rows)
	}
	if _, err := time.Parse(time.RFC3339, rows[0][3]); err != nil {
		t.Error(err)
	}
	keysCommand(t, []string{"rotate"}, settings...)
	rows = listed(t, settings)
	if len(rows) != 2 || rows[1][5] == "-" || rows[0][5] != "-" {
		t.Errorf("the list is %q", rows)
	}
}

func TestKeysRotate(t *testing.T) {
	settings := append(newKeys(t), "--signing-algorithm=EdDSA")
	setenv(t)
	var mu sync.Mutex
	var done sync.WaitGroup
	made, pending := 0, 0
	for range 10 {
		done.Go(func() { // Not run, which sets the environment of the process.
			var stdout, stderr bytes.Buffer
			code := execute(append([]string{"keys", "rotate"}, settings...), nil, &stdout, &stderr)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case code != exitOK:
				t.Errorf("exit code is %d: %s", code, &stderr)
			case strings.HasPrefix(stdout.String(), "Made signing key "):
				made++
			case strings.HasPrefix(stdout.String(), "No key was made: "):
				pending++
			}
		})
	}
	done.Wait()
	if made != 1 || pending != 9 {
		t.Errorf("%d made a key, %d found it", made, pending)
	}
	rows := listed(t, settings)
	if got := states(rows); got != "EdDSA pending, ES256 active" {
		t.Fatalf("the keys are %s", got)
	}
	again := keysCommand(t, []string{"rotate"}, settings...)
	if !strings.Contains(again, rows[0][0]) || !strings.Contains(again, "signs from "+rows[0][4]) {
		t.Errorf("it does not tell of the pending key %q: %s", rows[0], again)
	}
}

func TestKeysRevoke(t *testing.T) {
	settings := newKeys(t)
	kid := listed(t, settings)[0][0]
	// A key id may begin with a dash, which a flag does as well.
	named := keysCommand(t, []string{"revoke"}, append(settings, "--", kid)...)
	rows := listed(t, settings)
	if got := states(rows); got != "ES256 active" || rows[0][0] == kid {
		t.Fatalf("the keys are %q", rows)
	}
	for _, words := range []string{kid, rows[0][0], "within 7 s", "300 s", "signs from " + rows[0][4]} {
		if !strings.Contains(named, words) {
			t.Errorf("it does not tell %q: %s", words, named)
		}
	}
	code, _, stderr := run(t, slices.Concat([]string{"keys", "revoke"}, settings, []string{"--", kid}))
	if code != exitFailed || !strings.Contains(stderr, kid) || !strings.Contains(stderr, rows[0][0]) {
		t.Errorf("a key that is not there: %d, %s", code, stderr)
	}
}

// TestKeysRewrap runs through the steps of docs/guides/keys.md.
func TestKeysRewrap(t *testing.T) {
	settings := newKeys(t)
	database, changed := settings[0], []string{"--master-key=" + otherMasterKey, "--second-master-key-file=" + write(t, masterKey)}
	startStore(t, database, "--master-key="+masterKey, "--second-master-key="+otherMasterKey)
	startStore(t, append(changed, database)...)
	keysCommand(t, []string{"rotate"}, append(changed, database)...)
	code, _, stderr := run(t, []string{
		"keys", "rewrap", database, "--master-key=" + otherMasterKey,
		"--second-master-key=" + base64.StdEncoding.EncodeToString(make([]byte, 32)),
	})
	if code != exitFailed || !strings.Contains(stderr, "neither the master key nor the second one opens it") {
		t.Errorf("a wrong second key: %d, %s", code, stderr)
	}
	for _, want := range []int{1, 0} {
		if printed := keysCommand(t, []string{"rewrap"}, append(changed, database)...); !strings.Contains(printed,
			fmt.Sprintf("Sealed %d private keys", want)) {
			t.Errorf("rewrap tells %q, want %d", printed, want)
		}
	}
	startStore(t, database, "--master-key="+otherMasterKey)
	if got := states(listed(t, settings)); got != "ES256 pending, ES256 active" {
		t.Errorf("the keys are %s", got)
	}
}

func TestKeysSettings(t *testing.T) {
	short := base64.StdEncoding.EncodeToString([]byte(hidden))
	for _, test := range []struct {
		name   string
		args   []string
		faults []string
	}{
		{"nothing", []string{"rotate"}, []string{"--database-url is missing", "the master key is missing"}},
		{"nothing to list", []string{"list"}, []string{"--database-url is missing"}},
		{"no key named", []string{"revoke"}, []string{"<kid>"}},
		{"no command", nil, []string{"list", "rotate", "revoke", "rewrap"}},
		{
			"no second master key",
			[]string{"rewrap", "--master-key=" + masterKey, "--database-url=sqlite:db"},
			[]string{"the second master key is missing"},
		},
		{
			"all at once",
			[]string{
				"rotate", "--master-key=" + short, "--second-master-key=" + short,
				"--signing-algorithm=HS256", "--database-url=oracle:", "--log-level=loud",
			},
			[]string{"the master key is not 32 bytes", "the second master key is not 32 bytes", `"HS256"`, "must be mysql://", "--log-level"},
		},
		{
			"the same twice",
			[]string{"rewrap", "--master-key=" + masterKey, "--second-master-key=" + masterKey, "--database-url=sqlite:db"},
			[]string{"the second master key is the same as the master key"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, _, stderr := run(t, append([]string{"keys"}, test.args...))
			if code != exitUsage {
				t.Errorf("exit code is %d", code)
			}
			for _, fault := range test.faults {
				if !strings.Contains(stderr, fault) {
					t.Errorf("nothing is said of %q: %s", fault, stderr)
				}
			}
			for _, secret := range []string{hidden, short, masterKey} {
				if strings.Contains(stderr, secret) {
					t.Errorf("a secret is printed: %s", stderr)
				}
			}
		})
	}
}

func TestStoreSecondMasterKey(t *testing.T) {
	want := bytes.Repeat([]byte{9}, storeconfig.MasterKeySize)
	base := []string{
		"GATEHOUSE_DATABASE_URL=sqlite:db", "GATEHOUSE_MASTER_KEY=" + masterKey, "GATEHOUSE_SERVICE_TOKEN=" + serviceToken,
	}
	for _, variable := range []string{
		"GATEHOUSE_SECOND_MASTER_KEY=" + otherMasterKey, "GATEHOUSE_SECOND_MASTER_KEY_FILE=" + write(t, otherMasterKey+"\n"),
	} {
		config := parsed(t, []string{"store"}, append(base, variable)...).(*store).config
		if !bytes.Equal(config.SecondMasterKey, want) {
			t.Errorf("%.30s…: the second master key is %d bytes", variable, len(config.SecondMasterKey))
		}
	}
	if second := parsed(t, []string{"store"}, base...).(*store).config.SecondMasterKey; second != nil {
		t.Errorf("without one it is %v", second)
	}
	for _, args := range [][]string{
		{"store", "--database-url=sqlite:db", "--master-key=" + masterKey, "--second-master-key=" + masterKey},
		{"up", "--master-key=" + masterKey, "--second-master-key=" + masterKey, "--data=" + t.TempDir(), "--http=" + taken(t)},
	} {
		if code, _, stderr := run(t, args); code != exitUsage || !strings.Contains(stderr, "the same as the master key") {
			t.Errorf("%s takes the same key twice: %d, %s", args[0], code, stderr)
		}
	}
	for _, interval := range []string{"59m", "8761h"} {
		code, _, stderr := run(t, []string{"up", "--key-rotation-interval=" + interval})
		if code != exitUsage || !strings.Contains(stderr, "not 1h to 8760h") {
			t.Errorf("--key-rotation-interval=%s: %d, %s", interval, code, stderr)
		}
	}
}

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

const (
	// hashesOfAKind are made by another program, a process each, which takes longer than importing them: users share
	// them.
	hashesOfAKind = 12

	// logInsOfAKind are tried of each kind of hash, unless all are.
	logInsOfAKind = 12
)

// importedHash is a hash that another program made.
type importedHash struct{ kind, password, hash string }

// nodeHashes makes those of Node's crypto module, in the forms that passlib gives them.
const nodeHashes = `

const c = require('crypto');

const b64 = bytes => bytes.toString('base64').replace(/=+$/, '');

const ab64 = bytes => b64(bytes).replace(/\+/g, '.');

for (let i = 0; i < Number(process.argv[1]); i++) {
  const salt = c.randomBytes(16), password = kind => kind + ' password ' + i;
  const put = (kind, hash) => console.log([kind, password(kind), hash].join('\t'));
  put('scrypt', '$scrypt$ln=4,r=8,p=1$' + b64(salt) + '$' + b64(c.scryptSync(password('scrypt'), salt, 32, {N: 16, r: 8, p: 1})));
  for (const [kind, digest, size] of [['pbkdf2', 'sha1', 20], ['pbkdf2-sha256', 'sha256', 32], ['pbkdf2-sha512', 'sha512', 64]]) {
    put(kind, '$' + kind + '$100$' + ab64(salt) + '$' + ab64(c.pbkdf2Sync(password(kind), salt, 100, size, digest)));
  }
}`

// makeHashes makes hashes of every kind that is taken, with programs that are not ours.
func makeHashes(t *testing.T) []importedHash {
	t.Helper()
	var made []importedHash
	for line := range strings.Lines(tool(t, "", "node", "-e", nodeHashes, fmt.Sprint(hashesOfAKind))) {
		columns := strings.Split(strings.TrimSpace(line), "\t")
		made = append(made, importedHash{columns[0], columns[1], columns[2]})
	}
	for i := range hashesOfAKind {
		for kind, hash := range map[string]func(password string) string{
			"argon2i": func(p string) string {
				return tool(t, p, "argon2", fmt.Sprint("saltsalt", i), "-i", "-t", "1", "-m", "5", "-e")
			},
			"argon2d": func(p string) string {
				return tool(t, p, "argon2", fmt.Sprint("saltsalt", i), "-d", "-t", "1", "-m", "5", "-e")
			},
			"argon2id": func(p string) string {
				return tool(t, p, "argon2", fmt.Sprint("saltsalt", i), "-id", "-t", "1", "-m", "5", "-e")
			},
			"bcrypt 2b":     func(p string) string { return tool(t, p, "mkpasswd", "-s", "-m", "bcrypt", "-R", "4") },
			"bcrypt 2a":     func(p string) string { return tool(t, p, "mkpasswd", "-s", "-m", "bcrypt-a", "-R", "4") },
			"SHA-512-crypt": func(p string) string { return tool(t, p, "mkpasswd", "-s", "-m", "sha512crypt", "-R", "1000") },
			"htpasswd 2y": func(p string) string {
				_, after, _ := strings.Cut(tool(t, p, "htpasswd", "-niB", "-C", "4", "user"), ":")
				return after
			},
		} {
			password := fmt.Sprintf("%s password %d", kind, i)
			made = append(made, importedHash{kind, password, strings.TrimSpace(hash(password))})
		}
	}
	slices.SortStableFunc(made, func(a, b importedHash) int { return strings.Compare(a.kind, b.kind) })
	return made
}

// tool runs another program and gives what it says.
func tool(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	command := exec.Command(name, args...)
	command.Stdin = strings.NewReader(stdin)
	output, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(output)
}

// importedLine is a line of the file: of a user, or one that is to be refused.
type importedLine struct {
	text   string
	reason string // "" for a user
	email  string // that the report has
}

// refusedLines are to be refused, one for each reason. The file has user 0 before them.
func refusedLines() []importedLine {
	const user = `{"email":"refused@example.com","fullName":"R"`
	return []importedLine{
		{"nonsense", "BROKEN_JSON", ""},
		{user, "BROKEN_JSON", "refused@example.com"},
		{user + `,"metadata":{"a":"` + strings.Repeat("a", 3<<20) + `"}}`, "LINE_TOO_LONG", ""},
		{user + `,"shoeSize":42}`, "INVALID_FIELD", "refused@example.com"},
		{user + `,"timeZone":"Nowhere"}`, "INVALID_FIELD", "refused@example.com"},
		{`{"email":"refused","fullName":"R"}`, "INVALID_FIELD", ""},
		{`{"email":"USER0@example.com","fullName":"R"}`, "EMAIL_TAKEN", "USER0@example.com"},
		{`{"id":"00000000-0000-4000-8000-000000000000","email":"refused@example.com","fullName":"R"}`, "ID_TAKEN", "refused@example.com"},
		{user + `,"passwordHash":"$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/"}`, "HASH_UNKNOWN", "refused@example.com"},
		{user + `,"passwordHash":"$2b$04$short"}`, "HASH_MALFORMED", "refused@example.com"},
		{user + `,"passwordHash":"$2b$31$` + strings.Repeat("a", 53) + `"}`, "HASH_TOO_COSTLY", "refused@example.com"},
	}
}

func importedEmail(user int) string { return fmt.Sprintf("user%d@example.com", user) }

// importedFile contains all users, and after every refusedEvery users the lines that are rejected.
func importedFile(t *testing.T, hashes []importedHash) []importedLine {
	t.Helper()
	var lines []importedLine
	for user := range importedUsers {
		id, zone := fmt.Sprintf("00000000-0000-4000-8000-%012d", user), []string{"", "Europe/London"}[user%2]
		line, err := json.Marshal(map[string]any{
			"id": id, "email": importedEmail(user), "fullName": fmt.Sprint("User ", user), "timeZone": zone,
			"metadata": map[string]any{"n": user}, "version": user%7 + 1, "createTime": "2020-01-02T03:04:05Z",
			"updateTime": "2021-01-02T03:04:05.678901Z", "passwordHash": hashes[user%len(hashes)].hash,
		})
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, importedLine{text: string(line)})
		if user%refusedEvery == 0 {
			lines = append(lines, refusedLines()...)
		}
	}
	return lines
}

// importTest imports users.
type importTest struct {
	database []string // the variables that name it
	file     string
}

// run runs a command of gatehouse on the database to its end.
func (i *importTest) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	command := exec.Command(binary, args...)
	command.Env = append(os.Environ(), i.database...)
	command.Stdin = strings.NewReader("an admin's long password\n")
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	if err := command.Run(); err != nil && command.ProcessState == nil {
		t.Fatal(err)
	}
	if strings.Contains(errs.String(), "DATA RACE") {
		t.Errorf("the race detector reports: %s", &errs)
	}
	return command.ProcessState.ExitCode(), out.String(), errs.String()
}

// importKilling imports the file, and kills the process while it does, again and again. It gives what the last one
// says.
func (i *importTest) importKilling(t *testing.T, random *rand.Rand) (code int, output string) {
	t.Helper()
	process := &testkit.Process{
		Path: binary, Args: []string{"users", "import", i.file}, Env: i.database, Log: filepath.Join(t.TempDir(), "import"),
	}
	begun := func() error { // The first batch has lines that are refused.
		if info, err := os.Stat(i.file + ".report"); err != nil || info.Size() == 0 {
			return errors.New("no batch has come to its end")
		}
		return nil
	}
	if err := process.Start(begun); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		// It is killed when the time is over, at whatever it is then.
		if code, err := process.Wait(time.Duration(random.Int64N(int64(700 * time.Millisecond)))); err == nil {
			return code, process.Output()
		}
		if err := process.Start(func() error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	code, err := process.Wait(2 * time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(process.Output(), "import resumed") {
		t.Errorf("it was never killed in the middle:\n%s", process.Tail())
	}
	return code, process.Output()
}

// TestImport imports users with every kind of hash into a Gatehouse that runs, is killed meanwhile, and lets
// them log in.
func TestImport(t *testing.T) {
	t.Parallel()
	hashes := makeHashes(t)
	lines := importedFile(t, hashes)
	seed := rand.Uint64()
	t.Log("the seed is ", seed)
	for name, start := range map[string]func(*testing.T) (*testEnv, []string){
		"sqlite": func(t *testing.T) (*testEnv, []string) {
			data := t.TempDir()
			return startUp(t, data, cheapHashes...), []string{"GATEHOUSE_DATABASE_URL=sqlite:" + filepath.Join(data, "gatehouse.db")}
		},
		"mariadb": func(t *testing.T) (*testEnv, []string) {
			env := startThree(t, cheapHashes...)
			return env, []string{cluster.DatabaseSetting(env.database)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env, database := start(t)
			i := &importTest{database, filepath.Join(t.TempDir(), "users.jsonl")}
			writeLines(t, i.file, lines)
			began := time.Now()
			code, output := i.importKilling(t, rand.New(rand.NewPCG(seed, 0)))
			t.Logf("imported in %v, with kills", time.Since(began).Round(time.Millisecond))
			want := fmt.Sprintf("Imported %d users of %d lines; %d lines were refused.", importedUsers, len(lines), len(lines)-importedUsers)
			if code != 1 || !strings.Contains(output, want) {
				t.Fatalf("it ended with %d, without %q:\n%s", code, want, output[max(0, len(output)-1000):])
			}
			wantReport(t, i.file+".report", lines)
			i.wantImportedOnce(t)
			i.wantLogIns(t, env, hashes)
			i.wantTheSameElsewhere(t)
		})
	}
}

func writeLines(t *testing.T, path string, lines []importedLine) {
	t.Helper()
	var content strings.Builder
	content.WriteString("\xef\xbb\xbf")
	for n, line := range lines {
		content.WriteString(line.text)
		if n < len(lines)-1 {
			content.WriteString("\r\n")
		}
	}
	if err := os.WriteFile(path, []byte(content.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// wantReport requires each refused line once, in order, and nothing else.
func wantReport(t *testing.T, path string, lines []importedLine) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got, want []string
	for line := range bytes.Lines(content) {
		var reported struct {
			Line                       int
			Email, Reason, Description string
		}
		if err := json.Unmarshal(line, &reported); err != nil || reported.Description == "" {
			t.Fatalf("the report has the line %q: %v", line, err)
		}
		got = append(got, fmt.Sprint(reported.Line, " ", reported.Email, " ", reported.Reason))
	}
	for n, line := range lines {
		if line.reason != "" {
			want = append(want, fmt.Sprint(n+1, " ", line.email, " ", line.reason))
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the report has %d lines, of %d that were refused: %.2000q", len(got), len(want), got)
	}
	for _, part := range []string{"saltsalt", "short", "aaaaaaaa"} { // of the hashes that are refused
		if bytes.Contains(content, []byte(part)) {
			t.Error("the report holds a part of a hash: ", part)
		}
	}
}

// wantImportedOnce requires every user, and an event of each, and no other.
func (i *importTest) wantImportedOnce(t *testing.T) {
	t.Helper()
	emails, events := map[string]int{}, map[string]int{}
	for _, user := range i.export(t) {
		emails[user.Email]++
	}
	code, stdout, stderr := i.run(t, "audit", "export")
	if code != 0 {
		t.Fatal(stderr)
	}
	for line := range strings.Lines(stdout) {
		var event struct{ Kind, Actor, UserID string }
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			t.Fatal(err)
		}
		if event.Kind == "USER_IMPORTED" && event.Actor == "operator" {
			events[event.UserID]++
		}
	}
	for user := range importedUsers {
		if id := fmt.Sprintf("00000000-0000-4000-8000-%012d", user); emails[importedEmail(user)] != 1 || events[id] != 1 {
			t.Fatalf("user %d is there %d times, with %d events", user, emails[importedEmail(user)], events[id])
		}
	}
	if len(emails) != importedUsers || len(events) != importedUsers {
		t.Errorf("there are %d users, and events of %d", len(emails), len(events))
	}
}

// exportedUser is what this test looks at.
type exportedUser struct{ ID, Email, PasswordHash string }

func (i *importTest) export(t *testing.T) []exportedUser {
	t.Helper()
	code, stdout, stderr := i.run(t, "users", "export", "--with-hashes")
	if code != 0 {
		t.Fatal(stderr)
	}
	var users []exportedUser
	for line := range strings.Lines(stdout) {
		var user exportedUser
		if err := json.Unmarshal([]byte(line), &user); err != nil {
			t.Fatal(err)
		}
		users = append(users, user)
	}
	return users
}

// wantLogIns logs users with every kind of hash in, and wants that the first time makes it a hash of ours, and that the
// second time leaves that.
func (i *importTest) wantLogIns(t *testing.T, env *testEnv, hashes []importedHash) {
	t.Helper()
	chosen, again := map[string]importedHash{}, map[string]importedHash{} // by the address
	kinds := map[string]int{}
	for user := range importedUsers {
		hash := hashes[user%len(hashes)]
		kinds[hash.kind]++
		few := kinds[hash.kind] <= logInsOfAKind
		if few {
			again[importedEmail(user)] = hash
		}
		if few || logInAll {
			chosen[importedEmail(user)] = hash
		}
	}
	if len(kinds) != 11 {
		t.Errorf("the kinds are %v", kinds)
	}
	wantNobodyIn(t, env, again)
	began := time.Now()
	logAllIn(t, env, chosen)
	t.Logf("%d logged in within %v", len(chosen), time.Since(began).Round(time.Millisecond))
	ours := map[string]string{}
	for _, user := range i.export(t) {
		hash, loggedIn := chosen[user.Email]
		if current := strings.HasPrefix(user.PasswordHash, "$argon2id$v=19$m=7168,t=1,p=1$"); current != loggedIn {
			t.Errorf("%s, who logged in: %v, has the hash %s of %s", user.Email, loggedIn, user.PasswordHash, hash.kind)
		}
		ours[user.Email] = user.PasswordHash
	}
	logAllIn(t, env, again)
	for _, user := range i.export(t) {
		if ours[user.Email] != user.PasswordHash {
			t.Errorf("%s has another hash after the second log-in", user.Email)
		}
	}
}

func logAllIn(t *testing.T, env *testEnv, users map[string]importedHash) {
	t.Helper()
	client := gatehousev1.NewSessionServiceClient(env.conn)
	ofAll(users, func(email string, hash importedHash) {
		request := &gatehousev1.CreateSessionRequest{Email: email, Password: hash.password}
		if _, err := client.CreateSession(t.Context(), request); err != nil {
			t.Errorf("%s, with %s: %v", email, hash.kind, err)
		}
	})
}

// wantNobodyIn tries another password.
func wantNobodyIn(t *testing.T, env *testEnv, users map[string]importedHash) {
	t.Helper()
	client := gatehousev1.NewSessionServiceClient(env.conn)
	ofAll(users, func(email string, hash importedHash) {
		request := &gatehousev1.CreateSessionRequest{Email: email, Password: hash.password + "!"}
		_, err := client.CreateSession(t.Context(), request)
		if reason := apierr.ReasonName(apierr.ReasonOf(status.Convert(err))); reason != "INVALID_CREDENTIALS" {
			t.Errorf("%s, with %s and another password: %v", email, hash.kind, err)
		}
	})
}

// ofAll calls for each user, four at a time.
func ofAll(users map[string]importedHash, call func(email string, hash importedHash)) {
	working := make(chan struct{}, 4)
	var done sync.WaitGroup
	for email, hash := range users {
		working <- struct{}{}
		done.Go(func() {
			call(email, hash)
			<-working
		})
	}
	done.Wait()
}

// wantTheSameElsewhere moves the users on into an empty system, and wants the same bytes out of that.
func (i *importTest) wantTheSameElsewhere(t *testing.T) {
	t.Helper()
	_, first, stderr := i.run(t, "users", "export", "--with-hashes")
	elsewhere := &importTest{
		[]string{"GATEHOUSE_DATABASE_URL=sqlite:" + filepath.Join(t.TempDir(), "elsewhere.db")}, filepath.Join(t.TempDir(), "moved.jsonl"),
	}
	if err := os.WriteFile(elsewhere.file, []byte(first), 0o600); err != nil {
		t.Fatal(err)
	}
	elsewhere.run(t, "migrate")
	began := time.Now()
	if code, stdout, stderr := elsewhere.run(t, "users", "import", elsewhere.file); code != 0 {
		t.Fatal(stdout, stderr)
	}
	t.Logf("moved on in %v", time.Since(began).Round(time.Millisecond))
	if _, second, _ := elsewhere.run(t, "users", "export", "--with-hashes"); second != first || first == "" {
		t.Errorf("the export of %d bytes has become one of %d: %s", len(first), len(second), stderr)
	}
}

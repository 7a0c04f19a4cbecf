package transfer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

// bcryptHash is of "correct horse", by mkpasswd.
const bcryptHash = "$2b$05$y86VZWR3G/x1TKY2k7IqYeJxesjm/RxqHZu/3rcM6AuZmsvqbQ0Qm"

// importTest is an empty system and a file to import into it.
type importTest struct {
	database     storage.Config
	file, report string
	log          *bytes.Buffer
}

func newImport(t *testing.T, database storage.Config, content string) *importTest {
	t.Helper()
	test := &importTest{log: &bytes.Buffer{}}
	if err := storage.Migrate(t.Context(), database, test.logger()); err != nil {
		t.Fatal(err)
	}
	test.database = database
	test.write(t, content)
	return test
}

func (i *importTest) logger() *slog.Logger { return slog.New(slog.NewTextHandler(i.log, nil)) }

// write makes another file the one to import.
func (i *importTest) write(t *testing.T, content string) {
	t.Helper()
	i.file = filepath.Join(t.TempDir(), "users.jsonl")
	i.report = i.file + ".report"
	if err := os.WriteFile(i.file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// try imports the file as a command does.
func (i *importTest) try(t *testing.T, ctx context.Context) (Summary, error) {
	t.Helper()
	db, err := storage.Open(t.Context(), i.database, i.logger()) //nolint:contextcheck // that of the import is the one under test
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	return ImportUsers(audit.WithActor(ctx, audit.Operator), db, i.file, i.report, 1<<30, i.logger())
}

func (i *importTest) run(t *testing.T) Summary {
	t.Helper()
	summary, err := i.try(t, t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return summary
}

func (i *importTest) reported(t *testing.T) []Rejection {
	t.Helper()
	content, err := os.ReadFile(i.report)
	if err != nil {
		t.Fatal(err)
	}
	var all []Rejection
	for line := range bytes.Lines(content) {
		var one Rejection
		if err := json.Unmarshal(line, &one); err != nil {
			t.Fatalf("the report has the line %q: %v", line, err)
		}
		all = append(all, one)
	}
	return all
}

func (i *importTest) export(t *testing.T, withHashes bool) string {
	t.Helper()
	var exported bytes.Buffer
	db, err := storage.Open(t.Context(), i.database, i.logger())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := ExportUsers(t.Context(), db, withHashes, &exported); err != nil {
		t.Fatal(err)
	}
	return exported.String()
}

func sqliteDatabase(t *testing.T) storage.Config {
	t.Helper()
	return storage.Config{URL: "sqlite:" + filepath.Join(t.TempDir(), "test.db")}
}

// member returns a line with an address, a name, and this.
func member(member string) string {
	return `{"email":"ada@example.com","fullName":"Ada","passwordHash":"` + bcryptHash + `"` + member + `}`
}

func deep(levels int) string {
	return strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels)
}

func TestImportRejectedLines(t *testing.T) {
	const known = "ada@example.com"
	hashed := func(hash string) string {
		return `{"email":"ada@example.com","fullName":"Ada","passwordHash":"` + hash + `"}`
	}
	tests := []struct{ name, line, email, reason, words string }{
		{"no JSON", "ada@example.com", "", "BROKEN_JSON", "is not a single JSON object"},
		{"a list", `["ada@example.com"]`, "", "BROKEN_JSON", ""},
		{"cut off", `{"email":"ada@example.com","fullName":"A`, known, "BROKEN_JSON", ""},
		{"cut off after a member", `{"email":"ada@example.com"`, known, "BROKEN_JSON", ""},
		{"two objects", member("") + member(""), known, "BROKEN_JSON", ""},
		{"a comma too many", member(","), known, "BROKEN_JSON", ""},
		{"no UTF-8", `{"email":"ada@example.com","fullName":"` + "\xff" + `"}`, "", "BROKEN_JSON", "UTF-8"},
		{"nested without end", member(`,"metadata":` + strings.Repeat("[", 20000)), known, "BROKEN_JSON", ""},
		{"too long", member(`,"metadata":{"a":"` + strings.Repeat("a", maxLine) + `"}`), "", "LINE_TOO_LONG", "1048576"},

		{"nothing", `{}`, "", "INVALID_FIELD", "email must not be empty; fullName must not be empty"},
		{"an unknown member", member(`,"shoeSize":42`), known, "INVALID_FIELD", "shoeSize is unknown"},
		{"an unknown member that is no name", member(`,"$2b$05$secret":42`), known, "INVALID_FIELD", "a member is unknown"},
		{"a member in another case", member(`,"Locale":"en"`), known, "INVALID_FIELD", "Locale is unknown"},
		{"a member twice", member(`,"email":"bob@example.com"`), "bob@example.com", "INVALID_FIELD", "email appears more than once"},
		{"a number for a text", member(`,"locale":5`), known, "INVALID_FIELD", "locale must not be a JSON number"},
		{"a text for a list", member(`,"roles":"admin"`), known, "INVALID_FIELD", "roles must not be a JSON string"},
		{"no address", `{"email":"ada","fullName":"Ada"}`, "", "INVALID_FIELD", "email must be an e-mail address"},
		{"no address that can be seen", `{"email":"a\u034fda@example.com","fullName":"Ada"}`, "", "INVALID_FIELD", "email must be"},
		{"a long address", `{"email":"` + strings.Repeat("a", 251) + `@b.c","fullName":"Ada"}`, "", "INVALID_FIELD", "email must be at most 254 bytes"},
		{"a name of nothing", `{"email":"ada@example.com","fullName":" "}`, known, "INVALID_FIELD", "fullName must contain a visible character"},
		{"a name with a control character", `{"email":"ada@example.com","fullName":"A\u0007"}`, known, "INVALID_FIELD", "fullName must contain"},
		{"a long name", `{"email":"ada@example.com","fullName":"` + strings.Repeat("a", 201) + `"}`, known, "INVALID_FIELD", "fullName must be at most 200"},
		{"no language", member(`,"locale":"English!"`), known, "INVALID_FIELD", "locale must be a language tag"},
		{"the zone of the machine", member(`,"timeZone":"localtime"`), known, "INVALID_FIELD", "timeZone must be a time zone"},
		{"no time zone", member(`,"timeZone":"Europe/Nowhere"`), known, "INVALID_FIELD", "timeZone must be a time zone"},
		{"the machine's time zone", member(`,"timeZone":"Local"`), known, "INVALID_FIELD", "timeZone must be a time zone"},
		{"a picture without TLS", member(`,"pictureUri":"http://example.com/a.png"`), known, "INVALID_FIELD", "pictureUri must be an https URL"},
		{"metadata that is no object", member(`,"metadata":[1]`), known, "INVALID_FIELD", "metadata must be a JSON object"},
		{"metadata with a name twice", member(`,"metadata":{"a":1,"a":2}`), known, "INVALID_FIELD", "metadata must be a JSON object"},
		{"metadata with an invalid number", member(`,"metadata":{"a":1e999}`), known, "INVALID_FIELD", "metadata must be"},
		{"metadata with an integer that is rounded", member(`,"metadata":{"a":9007199254740993}`), known, "INVALID_FIELD", "metadata must contain only numbers"},
		{"name with a format character", `{"email":"ada@example.com","fullName":"A\u200bda"}`, known, "INVALID_FIELD", "fullName must contain a visible character"},
		{"metadata that is large", member(`,"metadata":{"a":"` + strings.Repeat("a", 16<<10) + `"}`), known, "INVALID_FIELD", "metadata must be at most 16 KiB"},
		{"metadata that is deep", member(`,"appMetadata":` + deep(17)), known, "INVALID_FIELD", "appMetadata must not be nested deeper"},
		{"an unknown role", member(`,"roles":["root"]`), known, "INVALID_FIELD", "roles must contain only user and admin"},
		{"an unknown state", member(`,"state":"ASLEEP"`), known, "INVALID_FIELD", "state must be ACTIVE or DISABLED"},
		{"no id", member(`,"id":"42"`), known, "INVALID_FIELD", "id must be a UUID"},
		{"no time", member(`,"createTime":"yesterday"`), known, "INVALID_FIELD", "createTime must be an RFC 3339 time"},
		{"a time before all others", member(`,"createTime":"0001-01-01T00:00:00Z"`), known, "INVALID_FIELD", "createTime must be"},
		{"changed before it was made", member(`,"createTime":"2020-01-02T00:00:00Z","updateTime":"2020-01-01T00:00:00Z"`), known, "INVALID_FIELD", "updateTime must not be before createTime"},
		{"version 0", member(`,"version":0`), known, "INVALID_FIELD", "version must be 1 to"},
		{"a version in words", member(`,"version":"abc"`), known, "INVALID_FIELD", "version must be a number"},
		{"a version that cannot grow", member(`,"version":1125899906842625`), known, "INVALID_FIELD", "version must be 1 to"},
		{"half a version", member(`,"version":1.5`), known, "INVALID_FIELD", "version must be 1 to"},
		{"a version beyond numbers", member(`,"version":"9223372036854775807"`), known, "INVALID_FIELD", "version must be 1 to"},
		{"several faults", `{"email":"ada@example.com","fullName":"","locale":"!","version":0}`, known, "INVALID_FIELD", "fullName must not be empty; locale must be a language tag such as en-GB; version must be"},

		{"an unknown hash", hashed("$1$saltsalt$qjXMvbEw8oaL.CzflDtaK/"), known, "HASH_UNKNOWN", "passwordHash the password hash is of no kind"},
		{"a plain password", hashed("correct horse battery staple"), known, "HASH_UNKNOWN", ""},
		{"a hash with a pepper", hashed("$argon2id$v=19$m=64,t=2,p=1,keyid=YQ$c2FsdHNhbHQ$aaaa"), known, "HASH_PEPPERED", "takes a key or pepper"},
		{"a malformed hash", hashed(bcryptHash[:59]), known, "HASH_MALFORMED", "malformed"},
		{"a costly hash", hashed(strings.Replace(bcryptHash, "$05$", "$31$", 1)), known, "HASH_TOO_COSTLY", "the cost must be at most 14"},
		{"a hash without end", hashed("$6$" + strings.Repeat("a", 10_000)), known, "HASH_MALFORMED", ""},
		{"a bad hash and a bad field", `{"email":"ada@example.com","fullName":"Ada","state":"x","passwordHash":"x"}`, known, "INVALID_FIELD", "state must be ACTIVE or DISABLED; passwordHash"},
	}
	var content strings.Builder
	for _, test := range tests {
		content.WriteString(test.line + "\n")
	}
	i := newImport(t, sqliteDatabase(t), content.String())
	if got := i.run(t); got != (Summary{Lines: int64(len(tests)), Refused: int64(len(tests))}) {
		t.Errorf("it tells %+v", got)
	}
	reported := i.reported(t)
	if len(reported) != len(tests) {
		t.Fatalf("the report has %d lines for %d", len(reported), len(tests))
	}
	for n, test := range tests {
		if got := reported[n]; got.Line != int64(n+1) || got.Reason != test.reason || got.Email != test.email ||
			!strings.Contains(got.Description, test.words) {
			t.Errorf("%s: the report has %+v", test.name, got)
		}
	}
	if report, _ := os.ReadFile(i.report); bytes.Contains(report, []byte("$05$")) || bytes.Contains(report, []byte("staple")) {
		t.Error("the report holds a hash or a password")
	}
	if exported := i.export(t, true); exported != "" {
		t.Errorf("there is %s", exported)
	}
}

func TestImportLineFormats(t *testing.T) {
	user := func(name string) string { return fmt.Sprintf(`{"email":"%s@example.com","fullName":"U"}`, name) }
	for name, content := range map[string]string{
		"no line break at the end": user("a") + "\n" + user("b"),
		"CRLF":                     user("a") + "\r\n" + user("b") + "\r\n",
		"a byte order mark":        "\xef\xbb\xbf" + user("a") + "\n" + user("b") + "\n",
		"empty lines":              "\n" + user("a") + "\n \t\r\n\n" + user("b") + "\n\n",
		"white space around":       " " + user("a") + "\t\n  " + user("b") + " ",
	} {
		t.Run(name, func(t *testing.T) {
			i := newImport(t, sqliteDatabase(t), content)
			if got := i.run(t); got.Imported != 2 || got.Refused != 0 || got.Lines < 2 {
				t.Errorf("it tells %+v", got)
			}
			if reported := i.reported(t); len(reported) != 0 {
				t.Errorf("the report is %+v", reported)
			}
		})
	}
	i := newImport(t, sqliteDatabase(t), "")
	if got := i.run(t); got != (Summary{}) {
		t.Errorf("of an empty file it tells %+v", got)
	}
}

func TestImportDefaults(t *testing.T) {
	i := newImport(t, sqliteDatabase(t), `{"email":" Ada@Example.com","fullName":"Ada","locale":null,"metadata":null,"id":"0190AAAA-6F3A-7C41-9D1B-3F0A5E8B7C21"}
{"email":"bob@example.com","fullName":"Bob","metadata":{},"version":"3","createTime":"2020-01-02T03:04:05.1234567+01:00"}`)
	before := time.Now().Add(-time.Minute)
	i.run(t)
	var records []UserRecord
	for line := range strings.Lines(i.export(t, true)) {
		var record UserRecord
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		records = append(records, record)
	}
	ada, bob := records[0], records[1]
	if ada.ID != "0190aaaa-6f3a-7c41-9d1b-3f0a5e8b7c21" || ada.Email != "Ada@Example.com" || ada.State != "ACTIVE" || ada.Version != "1" ||
		!slices.Equal(ada.Roles, []string{"user"}) || ada.PasswordHash != "" || ada.UpdateTime != ada.CreateTime {
		t.Errorf("Ada is %+v", ada)
	}
	if made, err := time.Parse(time.RFC3339, ada.CreateTime); err != nil || made.Before(before) {
		t.Errorf("Ada was made at %v, %v", made, err)
	}
	if bob.CreateTime != "2020-01-02T02:04:05.123456Z" || bob.UpdateTime != bob.CreateTime || bob.Version != "3" || string(bob.Metadata) != "{}" || ada.Metadata != nil ||
		!uuidForm.MatchString(bob.ID) {
		t.Errorf("Bob is %+v", bob)
	}
}

func TestImportConflicts(t *testing.T) {
	onEach(t, func(t *testing.T, database storage.Config) {
		i := newImport(t, database, `{"email":"ada@example.com","fullName":"Ada","id":"0190aaaa-0000-7000-8000-000000000001"}`)
		i.run(t)
		i.write(t, `{"email":"ADA@example.com","fullName":"Another"}
{"email":"bob@example.com","fullName":"Bob"}
nonsense
{"email":"bob@example.com","fullName":"Bob again"}
{"email":"eve@example.com","fullName":"Eve","id":"0190AAAA-0000-7000-8000-000000000001"}
`)
		if got := i.run(t); got != (Summary{Lines: 5, Imported: 1, Refused: 4}) {
			t.Errorf("it tells %+v", got)
		}
		var got []string
		for _, line := range i.reported(t) {
			got = append(got, fmt.Sprint(line.Line, " ", line.Email, " ", line.Reason))
		}
		want := []string{"1 ADA@example.com EMAIL_TAKEN", "3  BROKEN_JSON", "4 bob@example.com EMAIL_TAKEN", "5 eve@example.com ID_TAKEN"}
		if !slices.Equal(got, want) {
			t.Errorf("the report is %q", got)
		}
	})
}

// TestLineReaderOversizedLine checks that a line without an end is skipped and is not held in memory.
func TestLineReaderOversizedLine(t *testing.T) {
	var content strings.Builder
	content.WriteString(`{"email":"a@example.com","fullName":"A"}` + "\n")
	content.WriteString(`{"email":"`)
	for range 100 {
		content.WriteString(strings.Repeat("a", 1<<20))
	}
	content.WriteString("\"}\n" + `{"email":"b@example.com","fullName":"B"}` + "\n")
	reader := newLineReader(strings.NewReader(content.String()), 0, 0)
	for range 3 {
		line, tooLong, err := reader.next()
		if err != nil || cap(line) > 4*maxLine || tooLong != (reader.lines == 2) {
			t.Errorf("line %d has %d bytes: %v, %v", reader.lines, len(line), tooLong, err)
		}
	}
	i := newImport(t, sqliteDatabase(t), content.String())
	if got := i.run(t); got != (Summary{Lines: 3, Imported: 2, Refused: 1}) {
		t.Errorf("it tells %+v", got)
	}
	if reported := i.reported(t); reported[0].Line != 2 || reported[0].Reason != "LINE_TOO_LONG" {
		t.Errorf("the report is %+v", reported)
	}
}

// TestImportRESTUser checks that users as REST returns them, and as the export writes them, can be imported.
func TestImportRESTUser(t *testing.T) {
	user := &gatehousev1.User{
		Id: "01970e2c-6f3a-7c41-9d1b-3f0a5e8b7c21", Email: "ada@example.com", FullName: "Ada",
		CreateTime: timestamppb.New(time.Unix(1_600_000_000, 0)), UpdateTime: timestamppb.New(time.Unix(1_700_000_000, 0)),
		Version: 3, SessionGeneration: 4, Locale: "en-GB", TimeZone: "Europe/London",
		PictureUri: "https://example.com/ada.png", Roles: []string{"user"}, State: gatehousev1.UserState_USER_STATE_DISABLED,
		Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{"theme": structpb.NewStringValue("dark")}},
	}
	line, err := protojson.Marshal(user)
	if err != nil {
		t.Fatal(err)
	}
	first := newImport(t, sqliteDatabase(t), string(line))
	if summary := first.run(t); summary.Imported != 1 {
		t.Fatalf("%+v: %+v", summary, first.reported(t))
	}
	exported := first.export(t, true)
	if !strings.Contains(exported, `"state":"DISABLED"`) || !strings.Contains(exported, `"version":3`) {
		t.Errorf("exported is %s", exported)
	}
	second := newImport(t, sqliteDatabase(t), exported)
	if second.run(t); second.export(t, true) != exported {
		t.Errorf("exported again it is %s, before %s", second.export(t, true), exported)
	}
}

func TestImportFolder(t *testing.T) {
	i := newImport(t, sqliteDatabase(t), "")
	i.file = t.TempDir()
	if _, err := i.try(t, t.Context()); err == nil || !strings.Contains(err.Error(), "is not a regular file") {
		t.Errorf("error is %v", err)
	}
}

// TestExportImport moves users with every field set.
func TestExportImport(t *testing.T) {
	onEach(t, func(t *testing.T, database storage.Config) {
		i := newImport(t, database, `{"id":"0190AAAA-0000-7000-8000-000000000002","email":"Ada@Example.com","fullName":"Ada <Lovelace> & Cie","locale":"en-GB","timeZone":"Europe/London","pictureUri":"https://example.com/a.png?a=1&b=2","metadata":{"z":1.5,"a":[true,null,"<&>\u2028\u0000"],"n":-9007199254740991,"e":1e-7},"appMetadata":{"plan":"pro"},"roles":["user","admin"],"state":"DISABLED","createTime":"2020-01-02T03:04:05.123456Z","updateTime":"2021-01-02T03:04:05Z","version":17,"passwordHash":"`+bcryptHash+`"}
{"id":"0190aaaa-0000-7000-8000-000000000001","email":"\u00e9mile@example.com","fullName":"\u00c9mile","createTime":"1970-01-01T00:00:00Z","updateTime":"9999-12-31T23:59:59.999999Z"}
`)
		if got := i.run(t); got.Imported != 2 {
			t.Fatalf("it tells %+v: %+v", got, i.reported(t))
		}
		first := i.export(t, true)
		if strings.Count(first, "\n") != 2 || !strings.Contains(first, bcryptHash) || strings.Contains(i.export(t, false), "passwordHash") {
			t.Fatalf("the export is %s", first)
		}
		second := newImport(t, sqliteDatabase(t), first)
		if got := second.run(t); got.Imported != 2 || got.Refused != 0 {
			t.Fatalf("it tells %+v: %+v", got, second.reported(t))
		}
		if again := second.export(t, true); again != first {
			t.Errorf("the export was\n%s and is\n%s", first, again)
		}
	})
}

// TestWhoWasImportedLogsIn also without a password, once an admin has set one.

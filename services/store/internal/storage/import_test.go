package storage

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/audit"
)

// beginImport begins one of a file that nobody has.
func beginImport(t *testing.T, s *Storage) Import {
	t.Helper()
	digest := sha256.Sum256([]byte(newID()))
	for range 2 { // The second time it does nothing.
		if err := s.BeginImport(t.Context(), digest[:], "/report", time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	begun, err := s.ReadImport(t.Context(), digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return begun
}

// step is what settle gives for a batch of so many bytes.
func step(before Import, bytes int64, results []error) Import {
	before.Bytes += bytes
	before.Lines += int64(len(results))
	for _, result := range results {
		if result == nil {
			before.Imported++
		} else {
			before.Refused++
		}
	}
	return before
}

func importedEvents(t *testing.T, s *Storage) int {
	t.Helper()
	events, err := s.ListEvents(t.Context(), EventFilter{Kind: UserImported, Actor: audit.Operator}, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return len(events)
}

func TestImportUsers(t *testing.T) {
	t.Run("reports_the_result_of_each", testImportUsersReportsTheResultOfEach)
	t.Run("adds_all_or_none_of_a_batch", testImportUsersAddsAllOrNoneOfABatch)
	t.Run("of_several_processes_one_continues", testImportUsersOfSeveralProcessesOneContinues)
}

func testImportUsersReportsTheResultOfEach(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		there, gone := addUser(t, s, "there@example.com"), addUser(t, s, "gone@example.com")
		_, err := s.ChangeUser(t.Context(), gone.ID, time.Now(), func(before account.User) (UserChange, error) {
			return UserChange{User: before, Delete: true}, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		full := newUser("full@example.com")
		full.Locale, full.TimeZone, full.PictureURI = "en-GB", "Europe/London", "https://example.com/a.png"
		full.Metadata, full.AppMetadata, full.State, full.Admin, full.Version = `{"a":1}`, `{"b":2}`, account.Disabled, true, 7
		sameID := newUser("same-id@example.com")
		sameID.ID = there.ID
		tombstone := newUser("tombstone@example.com")
		tombstone.ID = gone.ID
		users := []account.UserWithHash{
			{User: newUser("one@example.com"), PasswordHash: hash},
			{User: newUser("THERE@example.com"), PasswordHash: hash},
			{User: newUser("ONE@example.com"), PasswordHash: hash},
			{User: sameID, PasswordHash: hash},
			{User: tombstone, PasswordHash: hash},
			{User: full, PasswordHash: ""},
			{User: newUser("gone@example.com"), PasswordHash: hash},
		}
		want := []error{nil, ErrEmailTaken, ErrEmailTaken, ErrIDTaken, ErrIDTaken, nil, nil}
		before := beginImport(t, s)
		after, err := s.ImportUsers(audit.WithActor(t.Context(), audit.Operator), before, users, time.Now(),
			func(results []error) (Import, error) {
				if !slices.Equal(results, want) {
					t.Errorf("the results are %v", results)
				}
				return step(before, 100, results), nil
			})
		if err != nil || after.Imported != 3 || after.Refused != 4 {
			t.Fatalf("it gives %+v, %v", after, err)
		}
		if read, err := s.ReadImport(t.Context(), before.FileDigest); err != nil || read.Bytes != 100 ||
			read.Lines != 7 || read.Imported != 3 || read.Refused != 4 || read.Finished {
			t.Errorf("it is at %+v, %v", read, err)
		}
		if got, err := s.ReadUser(t.Context(), full.ID); err != nil || got != full {
			t.Errorf("wrote %+v, read %+v, %v", full, got, err)
		}
		if events := importedEvents(t, s); events != 3 {
			t.Errorf("there are %d events", events)
		}
		if credential, err := s.ReadCredential(t.Context(), "one@example.com"); err != nil || credential.PasswordHash != hash {
			t.Errorf("the credential is %+v, %v", credential, err)
		}
		exported, err := s.ExportUsers(t.Context(), "", 10, true)
		if err != nil || len(exported) != 4 || !slices.IsSortedFunc(exported, func(a, b account.UserWithHash) int {
			return slices.Compare([]byte(a.User.ID), []byte(b.User.ID))
		}) || !slices.Contains(exported, account.UserWithHash{User: full}) || !slices.Contains(exported, account.UserWithHash{User: there, PasswordHash: hash}) {
			t.Errorf("the export is %+v, %v", exported, err)
		}
		if rest, err := s.ExportUsers(t.Context(), exported[1].User.ID, 1, false); err != nil || len(rest) != 1 ||
			rest[0].User.ID != exported[2].User.ID || rest[0].PasswordHash != "" {
			t.Errorf("the third is %+v, %v", rest, err)
		}
	})
}

func TestChangeUser(t *testing.T) {
	t.Run("sets_the_first_password", testChangeUserSetsTheFirstPassword)
	t.Run("none_of_many_changes_is_lost", testChangeUserNoneOfManyChangesIsLost)
	t.Run("nothing_outlives_a_deleted_user", testChangeUserNothingOutlivesADeletedUser)
	t.Run("many_admins_that_demote_each_other_leave_one", testChangeUserManyAdminsThatDemoteEachOtherLeaveOne)
	t.Run("two_admins_that_demote_each_other_leave_one", testChangeUserTwoAdminsThatDemoteEachOtherLeaveOne)
}

func testChangeUserSetsTheFirstPassword(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		user, before := newUser("ada@example.com"), beginImport(t, s)
		_, err := s.ImportUsers(t.Context(), before, []account.UserWithHash{{User: user}}, time.Now(),
			func(results []error) (Import, error) { return step(before, 1, results), nil })
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.ReadCredential(t.Context(), user.Email)
		want(t, err, ErrNotFound)
		for _, given := range []string{"first", "second"} {
			_, err = s.ChangeUser(t.Context(), user.ID, time.Now(), func(before account.User) (UserChange, error) {
				before.SessionGeneration++
				return UserChange{User: before, PasswordHash: given}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if credential, err := s.ReadCredential(t.Context(), user.Email); err != nil || credential.PasswordHash != given {
				t.Errorf("the credential is %+v, %v", credential, err)
			}
		}
	})
}

func testImportUsersAddsAllOrNoneOfABatch(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		before, full := beginImport(t, s), errors.New("the disk is full")
		_, err := s.ImportUsers(t.Context(), before, []account.UserWithHash{{User: newUser("ada@example.com"), PasswordHash: hash}}, time.Now(),
			func([]error) (Import, error) { return Import{}, full })
		if err != full { //nolint:errorlint // unaltered
			t.Errorf("error is %v", err)
		}
		if users, err := s.ExportUsers(t.Context(), "", 10, false); err != nil || len(users) != 0 {
			t.Errorf("there are %v, %v", users, err)
		}
		if read, err := s.ReadImport(t.Context(), before.FileDigest); err != nil || read.Bytes != 0 || importedEvents(t, s) != 0 {
			t.Errorf("the import is at %+v, %v", read, err)
		}
	})
}

func testImportUsersOfSeveralProcessesOneContinues(t *testing.T) {
	onEach(t, func(t *testing.T, config Config) {
		s := openNew(t, config)
		before := beginImport(t, s)
		var mu sync.Mutex
		var done sync.WaitGroup
		settled, conflicts := 0, 0
		for i := range 8 {
			done.Go(func() {
				users := []account.UserWithHash{{User: newUser(fmt.Sprintf("user%d@example.com", i)), PasswordHash: hash}}
				_, err := s.ImportUsers(t.Context(), before, users, time.Now(), func(results []error) (Import, error) {
					mu.Lock()
					defer mu.Unlock()
					settled++
					return step(before, 10, results), nil
				})
				mu.Lock()
				defer mu.Unlock()
				if errors.Is(err, ErrImportConflict) {
					conflicts++
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		done.Wait()
		if users, err := s.ExportUsers(t.Context(), "", 10, false); err != nil || len(users) != 1 || conflicts != 7 || settled != 1 {
			t.Errorf("%d were imported, %d settled, %d went home; %v", len(users), settled, conflicts, err)
		}
	})
}

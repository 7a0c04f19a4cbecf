package e2e

import (
	"database/sql"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// openDatabase opens the database of a test environment, to change what no call can.
func openDatabase(t *testing.T, env *testEnv) *sql.DB {
	t.Helper()
	var db *sql.DB
	var err error
	if path, ok := strings.CutPrefix(env.database, "sqlite:"); ok {
		db, err = sql.Open("sqlite", "file:"+path+"?_pragma=busy_timeout(10000)")
	} else {
		db, err = env.mariadb.Open(env.infra.Database)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// staleRoot returns the tokens of an administrator who logged in 11 minutes ago and has refreshed since.
func staleRoot(t *testing.T, r *fixtures) []string {
	t.Helper()
	if r.stale != nil {
		return r.stale
	}
	session := openSession(t, r.env, "root."+r.tag+"@example.com")
	statement := "UPDATE sessions SET create_time = create_time - INTERVAL 11 MINUTE WHERE id = ?"
	if strings.HasPrefix(r.env.database, "sqlite:") {
		statement = "UPDATE sessions SET create_time = create_time - 660000000 WHERE id = ?" // microseconds
	}
	if _, err := openDatabase(t, r.env).ExecContext(t.Context(), statement, session.GetSessionId()); err != nil {
		t.Fatal(err)
	}
	r.stale = []string{"Bearer " + refresh(t, r.env, session.GetRefreshToken()).GetAccessToken()}
	return r.stale
}

// stale is a case that a session which was opened too long ago makes.
func stale(c corpusCase) corpusCase {
	c.name += ", by a session opened 11 minutes ago"
	c.by = staleRoot
	return c
}

func recentLoginRequired(c corpusCase) corpusCase {
	c.code, c.http, c.reason = codes.FailedPrecondition, http.StatusBadRequest, "RECENT_LOGIN_REQUIRED"
	return c
}

func ownAccount(c corpusCase) corpusCase {
	c.code, c.http, c.reason = codes.PermissionDenied, http.StatusForbidden, "OWN_ACCOUNT"
	return c
}

func rootsID(r *fixtures) string { return strings.ToUpper(r.root.GetSession().GetUserId()) }

func renames(name string, id func(*fixtures) string, user *gatehousev1.User) corpusCase {
	return corpusCase{
		name: "update: " + name, method: "UserService/UpdateUser", caller: "root",
		request: func(r *fixtures) proto.Message {
			changed := proto.CloneOf(user)
			changed.Id = id(r)
			return &gatehousev1.UpdateUserRequest{User: changed}
		},
	}
}

var recentLoginCases = []corpusCase{
	recentLoginRequired(stale(disables("somebody", "root", doomed))),
	recentLoginRequired(stale(disables("oneself", "root", fixed("me")))),
	recentLoginRequired(stale(enables("somebody", "root", doomed))),
	recentLoginRequired(stale(setsRoles("of somebody", "root", doomed, "user", "admin"))),
	recentLoginRequired(stale(setsRoles("of oneself", "root", fixed("me"), "user", "admin"))),
	recentLoginRequired(stale(resetsPassword("of somebody", "root", doomed, newPassword))),
	recentLoginRequired(stale(resetsPassword("of oneself", "root", fixed("me"), newPassword))),
	recentLoginRequired(stale(endsSessions("of somebody", "root", doomed))),
	recentLoginRequired(stale(endsSessions("of oneself", "root", fixed("me")))),
	recentLoginRequired(stale(rotates("by an admin", "root"))),
	recentLoginRequired(stale(deletes("somebody", "root", nil, doomed))),
	recentLoginRequired(stale(deletes("oneself", "root", nil, fixed("me")))),
	recentLoginRequired(stale(renames("somebody", doomed, &gatehousev1.User{FullName: "Countess"}))),
	recentLoginRequired(stale(renames("the locale of somebody", doomed, &gatehousev1.User{Locale: "en"}))),
	ok(stale(renames("oneself", fixed("me"), &gatehousev1.User{FullName: "Root"}))),
	ok(stale(renames("oneself by the id", rootsID, &gatehousev1.User{FullName: "Root"}))),
	ok(renames("somebody by a session just opened", doomed, &gatehousev1.User{FullName: "Countess"})),
	ok(stale(reads("anybody", "root", func(r *fixtures) string { return r.bob.GetId() }))),
	ok(stale(listsUsers("all", "root", all))),
	ok(stale(listsEvents("all", "root", everyEvent))),
	ownAccount(resetsPassword("of oneself", "root", fixed("me"), newPassword)),
	ownAccount(resetsPassword("of oneself by the id", "root", rootsID, newPassword)),
}

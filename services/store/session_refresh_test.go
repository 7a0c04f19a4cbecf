package store

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gatehouse-auth/gatehouse/services/store/internal/rpc"

	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
	"github.com/gatehouse-auth/gatehouse/services/store/operator"

	"github.com/google/uuid"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/callctx"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/account"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/refresh"
	"github.com/gatehouse-auth/gatehouse/services/store/internal/storage"
)

const (
	sessionEnded   = gatehousev1.ErrorReason_ERROR_REASON_SESSION_ENDED
	sessionExpired = gatehousev1.ErrorReason_ERROR_REASON_SESSION_EXPIRED
	reused         = gatehousev1.ErrorReason_ERROR_REASON_REFRESH_TOKEN_REUSED
	invalid        = gatehousev1.ErrorReason_ERROR_REASON_REFRESH_TOKEN_INVALID
)

// TestRefreshConcurrently checks that the first refresh with a token and its permitted repeats return one successor,
// and that no further concurrent refresh ends the session.
func TestRefreshConcurrently(t *testing.T) {
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		clock := newClock()
		stores := []*testStore{
			startStore(t, testConfig(database, clock)), startStore(t, testConfig(database, clock)),
			startStore(t, testConfig(database, clock)),
		}
		stores[0].signUp(t)
		token := stores[0].logIn(t).GetRefreshToken()
		for _, calls := range []int{refresh.MaxRepeats + 1, 100, refresh.MaxRepeats + 1} {
			successors := refreshAtOnce(t, stores, token, calls)
			if most := (calls + refresh.MaxRepeats) / (refresh.MaxRepeats + 1); len(successors) > most {
				t.Fatalf("%d calls got %d successors, not %d", calls, len(successors), most)
			}
			token = slices.Collect(maps.Keys(successors))[0] // Each is good.
		}
	})
}

func refreshAtOnce(t *testing.T, stores []*testStore, token string, calls int) map[string]int {
	t.Helper()
	ctx := callctx.WithClient(t.Context(), callctx.Client{Address: owners})
	successors := map[string]int{}
	var mu sync.Mutex
	var wait sync.WaitGroup
	for i := range calls {
		wait.Go(func() {
			response, err := stores[i%len(stores)].refresh(ctx, token)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			successors[response.GetRefreshToken()]++
		})
	}
	wait.Wait()
	return successors
}

// TestRefreshLostResponses refreshes sessions over a connection that loses requests and answers, and
// pause now and then for longer than the grace.
func TestRefreshLostResponses(t *testing.T) {
	const refreshes, workers = 100, 8
	const sessionsPerOwner = 50 // fewer than may stand
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		service := newRefreshes(t, database)
		tokens := make(chan string, lossyOwners)
		for i := range lossyOwners {
			if i%sessionsPerOwner == 0 {
				service.userID = service.addOwner(t, fmt.Sprintf("owner%d@example.com", i))
			}
			tokens <- service.open(t)
		}
		close(tokens)
		var wait sync.WaitGroup
		for worker := range workers {
			wait.Go(func() {
				random := rand.New(rand.NewPCG(1, uint64(worker)))
				for token := range tokens {
					if err := service.refreshLossily(t, token, refreshes, random); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
		if log := service.log.String(); strings.Contains(log, "security event") {
			t.Errorf("an owner was taken for a thief: %.2000s", log)
		}
	})
}

// refreshes is the service on a real database, called without a connection: for tests with very many calls.
type refreshes struct {
	gatehousev1.SessionServiceServer

	storage *storage.Storage
	tokens  *refresh.Tokens
	clock   *clock
	log     *syncBuffer
	userID  string
}

func newRefreshes(t *testing.T, database storeconfig.Database) *refreshes {
	t.Helper()
	clock := newClock()
	config := testConfig(database, clock)
	store := startStore(t, config)
	user := store.signUp(t)
	tokens, err := refresh.NewTokens(config.MasterKey)
	if err != nil {
		t.Fatal(err)
	}
	// Its own connection does not wake the feed with each refresh.
	db, err := storage.Open(t.Context(), database, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	beside := *store.service
	beside.storage = db
	return &refreshes{
		SessionServiceServer: beside.direct(t, func(*rpc.Config) {}).sessions, storage: db,
		tokens: tokens, clock: clock, log: store.log, userID: user.GetId(),
	}
}

// addOwner adds a user and returns its id.
func (r *refreshes) addOwner(t *testing.T, email string) string {
	t.Helper()
	now := r.clock.now().UTC()
	user := account.User{
		ID: uuid.Must(uuid.NewV7()).String(), Email: email, FullName: "Somebody", CreateTime: now, UpdateTime: now,
		Version: 1, State: account.Active,
	}
	if err := r.storage.CreateUser(t.Context(), user, "a hash"); err != nil {
		t.Fatal(err)
	}
	return user.ID
}

// open opens a session without a password, and gives its refresh token.
func (r *refreshes) open(t *testing.T) string {
	t.Helper()
	now := r.clock.now().UTC()
	session := account.Session{
		ID: uuid.Must(uuid.NewV7()).String(), UserID: r.userID, Version: 1, CreateTime: now, LastUseTime: now,
		ExpireTime: now.Add(30 * 24 * time.Hour), Lineage: refresh.NewLineage(now),
	}
	if err := r.storage.CreateSession(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	token, err := r.tokens.Make(session.ID, session.Lineage.Current)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (r *refreshes) refresh(t *testing.T, token string) (successor string, err error) {
	return r.refreshFrom(t, owners, token)
}

func (r *refreshes) refreshFrom(t *testing.T, address, token string) (successor string, err error) {
	ctx := callctx.WithClient(t.Context(), callctx.Client{Address: address})
	response, err := r.RefreshSession(ctx, &gatehousev1.RefreshSessionRequest{RefreshToken: token})
	return response.GetRefreshToken(), err
}

// refreshLossily refreshes until it has had so many answers. Time passes for all sessions of the test at once.
func (r *refreshes) refreshLossily(t *testing.T, token string, refreshes int, random *rand.Rand) error {
	for answered := 0; answered < refreshes; {
		switch random.IntN(10) {
		case 0: // The request is lost.
		case 1: // The answer is lost.
			if _, err := r.refresh(t, token); err != nil {
				return fmt.Errorf("after %d answers: %w", answered, err)
			}
		case 2: // The owner is away for longer than the grace, and comes back with the token that it had.
			r.clock.advance(time.Minute)
		case 3: // The answer is lost as the owner changes the network.
			if _, err := r.refreshFrom(t, thiefs, token); err != nil {
				return fmt.Errorf("after %d answers: %w", answered, err)
			}
		default:
			successor, err := r.refresh(t, token)
			if err != nil {
				return fmt.Errorf("after %d answers: %w", answered, err)
			}
			token = successor
			answered++
		}
	}
	return nil
}

// TestRefreshTheft simulates every order in which an owner and a thief, who has copied the first token
// and is another client, can use one lineage, and compares each answer with a small model of the rules: six moves of
// the rules by themselves, four on each database.
func TestRefreshTheft(t *testing.T) {
	t.Run("rules", func(t *testing.T) {
		begin := time.Now()
		g := game{t: t, moves: 6, refresh: func(at position, token, client string) (refresh.Lineage, string, verdict) {
			lineage := since(at.lineage, begin, at.model.late)
			number, err := strconv.ParseInt(token, 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			lineage, outcome := lineage.Present(number, client == at.model.holder, begin, 30*time.Second)
			switch outcome {
			case refresh.Reused:
				return lineage, "", ended
			case refresh.Refused:
				return lineage, "", refused
			default:
				return lineage, strconv.FormatInt(lineage.Current, 10), answered
			}
		}}
		g.play("", position{
			model: model{current: "1", good: " 1 ", holder: owners}, owner: "1", thief: "1", lineage: refresh.NewLineage(begin),
		})
	})
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		service := newRefreshes(t, database)
		bystander, first := service.open(t), service.open(t)
		session := service.sessionOf(t, first)
		g := game{t: t, moves: 4, refresh: func(at position, token, client string) (refresh.Lineage, string, verdict) {
			return service.refreshAt(t, session.ID, at, token, client)
		}}
		g.play("", position{
			model: model{current: first, good: " " + first + " ", holder: owners}, owner: first, thief: first,
			lineage: session.Lineage,
		})
		if _, err := service.refresh(t, bystander); err != nil {
			t.Errorf("another session of the user ended too: %v", err)
		}
	})
}

// The clients of a game: of two networks.
const (
	owners = "192.0.2.1"
	thiefs = "198.51.100.1"
)

// verdict is what becomes of a token that is presented.
type verdict int

const (
	ended    verdict = iota // the session, by it
	refused                 // and the session goes on
	answered                // with a token
)

// since makes a lineage as old as a game says: no time passes in it but by a pause.
func since(lineage refresh.Lineage, now time.Time, late bool) refresh.Lineage {
	if !late {
		return lineage
	}
	lineage.RotateTime = now.Add(-time.Minute)
	for i := range lineage.Trades {
		if lineage.Trades[i].Number != 0 {
			lineage.Trades[i].Time = lineage.RotateTime
		}
	}
	return lineage
}

// position is where a game stands: what the rules say of it, who holds which token, and what is played with has.
type position struct {
	model        model
	owner, thief string
	lineage      refresh.Lineage
}

type game struct {
	t     *testing.T
	moves int
	// refresh presents a token to a lineage from a client, and tells what becomes of it.
	refresh func(at position, token, client string) (after refresh.Lineage, successor string, got verdict)
}

// play makes every move from a position, and every move after that.
func (g game) play(moves string, at position) {
	if len(moves) == g.moves {
		return
	}
	for _, move := range "oOtTp" { // Owner, thief, pause; in capitals the answer is lost.
		to := at
		switch move {
		case 'o':
			to.owner = g.present(moves+"o", &to, at.owner, owners)
		case 'O':
			g.present(moves+"O", &to, at.owner, owners)
		case 't':
			to.thief = g.present(moves+"t", &to, at.thief, thiefs)
		case 'T':
			g.present(moves+"T", &to, at.thief, thiefs)
		case 'p':
			to.model.late = true
		}
		if !to.model.ended {
			g.play(moves+string(move), to)
		}
	}
}

// present presents a token, wants the answer that the model gives, and returns the token that its holder has then.
func (g game) present(moves string, at *position, token, client string) string {
	lineage, successor, got := g.refresh(*at, token, client)
	if wanted := at.model.present(token, successor, client); wanted != got {
		g.t.Fatalf("%s: by the rules it is %d; it is %d", moves, wanted, got)
	}
	if at.model.fault != "" {
		g.t.Fatalf("%s: %s", moves, at.model.fault)
	}
	at.lineage = lineage
	if got != answered {
		return token
	}
	return successor
}

// refreshAt sets a session of the database to where a game stands before it presents the token.
func (r *refreshes) refreshAt(
	t *testing.T, id string, at position, token, client string,
) (after refresh.Lineage, successor string, got verdict) {
	t.Helper()
	r.put(t, id, since(at.lineage, r.clock.now(), at.model.late), at.model.holder)
	successor, err := r.refreshFrom(t, client, token)
	switch {
	case err == nil:
		return r.sessionOf(t, successor).Lineage, successor, answered
	case wantErrorReason(err, invalid) == nil:
		return r.sessionOf(t, token).Lineage, "", refused
	}
	wantReason(t, err, reused)
	current, _ := r.tokens.Make(id, at.lineage.Current)
	for _, token := range []string{token, current} { // It has ended for everybody, and is told so again.
		_, err := r.refresh(t, token)
		wantReason(t, err, reused)
	}
	return at.lineage, "", ended
}

func (r *refreshes) sessionOf(t *testing.T, token string) account.Session {
	t.Helper()
	id, _, err := r.tokens.Read(token)
	if err != nil {
		t.Fatal(err)
	}
	current, err := r.storage.ReadSession(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return current.Session
}

// put makes a session stand as it did with this lineage, and as if its current token had been given to this address.
func (r *refreshes) put(t *testing.T, id string, lineage refresh.Lineage, address string) {
	t.Helper()
	_, err := r.storage.ChangeSession(t.Context(), id, func(current account.UserSession) (account.Session, error) {
		current.Session.Lineage, current.Session.EndTime, current.Session.EndReason = lineage, time.Time{}, ""
		current.Session.ExpireTime = r.clock.now().Add(30 * 24 * time.Hour)
		current.Session.ClientAddress = address
		return current.Session, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// model is the rules in the words in which they are given: a session knows the current token and its siblings, their
// parent, which other tokens were traded within the grace, whether all of it was longer ago than that, and which client
// has got the current token.
type model struct {
	current, parent, holder string
	good, recent            string // tokens with a space around each
	late, ended             bool
	fault                   string
}

// present returns what becomes of a token that is presented, and looks at what was given for it.
func (m *model) present(token, successor, client string) verdict {
	recent := strings.Contains(m.recent, " "+token+" ") && !m.late
	switch {
	case strings.Contains(m.good, " "+token+" "):
		if m.late {
			m.recent = ""
		} else {
			m.recent += " " + m.parent + " "
		}
		m.parent, m.good = token, ""
		m.renew(successor, client)
	case token == m.parent && (m.late || client != m.holder):
		if m.late { // Of the siblings, the newest stays good.
			m.recent, m.good = "", " "+m.current+" "
		}
		m.renew(successor, client)
	case token == m.parent, recent && client == m.holder:
		if successor != m.current {
			m.fault = "a token that comes again within the grace does not give the same current token"
		}
	case recent:
		return refused
	default:
		m.ended = true
		return ended
	}
	return answered
}

func (m *model) renew(successor, client string) {
	if successor == m.current || successor == m.parent {
		m.fault = "an old token is given out as a new one"
	}
	m.current, m.holder, m.late = successor, client, false
	m.good += " " + successor + " "
}

func TestRefreshSecondMasterKey(t *testing.T) {
	onEach(t, func(t *testing.T, database storeconfig.Database) {
		clock := newClock()
		old, both, replaced := testConfig(database, clock), testConfig(database, clock), testConfig(database, clock)
		replaced.MasterKey = bytes.Repeat([]byte("n"), storeconfig.MasterKeySize)
		replaced.SecondMasterKey, both.SecondMasterKey = old.MasterKey, replaced.MasterKey
		before := startStore(t, old)
		before.signUp(t)
		early, late := before.logIn(t).GetRefreshToken(), before.logIn(t).GetRefreshToken()

		during, after := startStore(t, both), startStore(t, replaced) // Both serve while the stores are restarted.
		for _, store := range []*testStore{during, after, during, after} {
			response, err := store.refresh(t.Context(), early)
			if err != nil {
				t.Fatal(err)
			}
			early = response.GetRefreshToken()
		}
		if _, err := operator.RewrapSigningKeys(t.Context(), operator.KeysConfig{
			Database: database, MasterKey: replaced.MasterKey, SecondMasterKey: replaced.SecondMasterKey, Now: clock.now,
		}, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		replaced.SecondMasterKey = nil
		alone := startStore(t, replaced)
		if _, err := alone.refresh(t.Context(), early); err != nil {
			t.Errorf("a token that was traded since the change: %v", err)
		}
		_, err := alone.refresh(t.Context(), late) // The old key is needed for as long as a session may be idle.
		wantReason(t, err, invalid)
		if _, err := after.refresh(t.Context(), late); err != nil {
			t.Errorf("a token from before the change, while the old key is the second: %v", err)
		}
	})
}

func TestRefreshForeignToken(t *testing.T) {
	withStore(t, func(t *testing.T, store *testStore, _ *clock) {
		foreign, err := refresh.NewTokens(bytes.Repeat([]byte("x"), storeconfig.MasterKeySize))
		if err != nil {
			t.Fatal(err)
		}
		own := store.logIn(t)
		token, err := foreign.Make(own.GetSessionId(), 1)
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.refresh(t.Context(), token)
		wantReason(t, err, invalid)
		if _, err := store.refresh(t.Context(), own.GetRefreshToken()); err != nil {
			t.Errorf("the session suffered: %v", err)
		}
	})
}

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
		for _, calls := range []int{refresh.MaxRepeats + 1, 3 * refresh.MaxRepeats, refresh.MaxRepeats + 1} {
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

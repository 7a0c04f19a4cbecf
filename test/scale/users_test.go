package scale_test

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/test/bufconn"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"
	"github.com/gatehouse-auth/gatehouse/internal/jwk"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	storeservice "github.com/gatehouse-auth/gatehouse/services/store"
	storeconfig "github.com/gatehouse-auth/gatehouse/services/store/config"
	"github.com/gatehouse-auth/gatehouse/services/store/operator"
	"github.com/gatehouse-auth/gatehouse/test/scale"
)

// many is how many users the large database of the benchmark has; the small one has few.
var many = flag.Int("users", 20_000, "how many users the large database of the benchmark has: 1000 or more")

const (
	few = 1000

	// pageSize is the default one.
	pageSize = 20

	// farPage is the page far behind, if there are as many.
	farPage = 10_000

	// rounds are how often each question is asked of each database, in turn.
	rounds = 401

	// maxRatio is what the large database may take of the time that the small one takes.
	maxRatio = 2.0
)

// population is a store on a database with users.
type population struct {
	users    int
	service  gatehousev1.UserServiceClient
	token    string
	farToken string // of the page far behind
	ids      []string
}

// settle makes a database with users, and a store on it, until the test ends.
func settle(tb testing.TB, database storeconfig.Database, users int) *population {
	tb.Helper()
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	file := filepath.Join(tb.TempDir(), "users.jsonl")
	written, err := os.Create(file)
	if err != nil {
		tb.Fatal(err)
	}
	if err := scale.WriteUsers(written, users); err != nil {
		tb.Fatal(err)
	}
	if err := written.Close(); err != nil {
		tb.Fatal(err)
	}
	if err := operator.Migrate(tb.Context(), database, slog.New(slog.DiscardHandler)); err != nil {
		tb.Fatal(err)
	}
	began := time.Now()
	summary, err := operator.ImportUsers(tb.Context(),
		operator.ImportConfig{Database: database, File: file, Report: file + ".report"}, log)
	if err != nil || summary.Imported != int64(users) || summary.Refused != 0 {
		tb.Fatalf("imported %+v, %v", summary, err)
	}
	tb.Logf("imported %d users in %v", users, time.Since(began).Round(time.Millisecond))
	p := &population{users: users}
	p.open(tb, database)
	p.page(tb)
	return p
}

// open runs a store and logs the administrator in.
func (p *population) open(tb testing.TB, database storeconfig.Database) {
	tb.Helper()
	const name = "https://issuer.example.com"
	credential := authn.ServiceCredential{Role: authn.PeerGateway, Token: rand.Text() + rand.Text()}
	service, err := storeservice.New(tb.Context(), storeconfig.Config{
		Database: database, MasterKey: storeconfig.NewMasterKey(), ServiceToken: credential.Token, Issuer: name, Audience: name,
		SigningAlgorithm: jwk.EdDSA, KeyRotationInterval: 24 * time.Hour, AccessTokenLifetime: 24 * time.Hour, OwnChangesPerMinute: 60,
		Sessions: storeconfig.SessionConfig{IdleLifetime: 48 * time.Hour, Lifetime: 48 * time.Hour},
		Password: storeconfig.PasswordParams{MemoryKiB: 7168, Iterations: 1, Parallelism: 1},
	}, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	listener := bufconn.Listen(1 << 20)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx, listener) }()
	attach := func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
		options ...grpc.CallOption,
	) error {
		// The access token is given with each call.
		ctx = metadata.AppendToOutgoingContext(ctx, credential.Metadata()...)
		return invoke(ctx, method, req, reply, conn, options...)
	}
	conn, err := grpcx.Dial("passthrough:///in-process", credential, grpcx.InProcess(listener),
		grpc.WithUnaryInterceptor(attach))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = conn.Close()
		stop()
		if err := <-ended; err != nil {
			tb.Error(err)
		}
	})
	p.service = gatehousev1.NewUserServiceClient(conn)
	session, err := gatehousev1.NewSessionServiceClient(conn).CreateSession(tb.Context(),
		&gatehousev1.CreateSessionRequest{Email: scale.AdminEmail, Password: scale.AdminPassword})
	if err != nil {
		tb.Fatal(err)
	}
	p.token = session.GetAccessToken()
}

// page reads the pages up to the one far behind, or the last, and collects ids on the way.
func (p *population) page(tb testing.TB) {
	tb.Helper()
	for page := 1; page < farPage; page++ {
		response := p.list(tb, &gatehousev1.ListUsersRequest{PageSize: pageSize, PageToken: p.farToken})
		p.ids = append(p.ids, response.GetUsers()[page%len(response.GetUsers())].GetId())
		if response.GetNextPageToken() == "" {
			return
		}
		p.farToken = response.GetNextPageToken()
	}
}

func (p *population) context(tb testing.TB) context.Context {
	tb.Helper()
	return metadata.AppendToOutgoingContext(tb.Context(), "authorization", "Bearer "+p.token)
}

func (p *population) list(tb testing.TB, request *gatehousev1.ListUsersRequest) *gatehousev1.ListUsersResponse {
	tb.Helper()
	response, err := p.service.ListUsers(p.context(tb), request)
	if err != nil {
		tb.Fatal(err)
	}
	return response
}

// question is something to ask of a population, and the least number of users in the answer.
type question struct {
	name  string
	ask   func(tb testing.TB, p *population, round int) (users int)
	least int
}

func lists(name string, least int, request func(p *population) *gatehousev1.ListUsersRequest) question {
	return question{name, func(tb testing.TB, p *population, _ int) int {
		tb.Helper()
		return len(p.list(tb, request(p)).GetUsers())
	}, least}
}

func questions() []question {
	of := func(request *gatehousev1.ListUsersRequest) func(*population) *gatehousev1.ListUsersRequest {
		return func(*population) *gatehousev1.ListUsersRequest { return request }
	}
	return []question{
		lists("first page", pageSize, of(&gatehousev1.ListUsersRequest{})),
		lists("page far behind", pageSize, func(p *population) *gatehousev1.ListUsersRequest {
			return &gatehousev1.ListUsersRequest{PageSize: pageSize, PageToken: p.farToken}
		}),
		lists("by prefix", pageSize, of(&gatehousev1.ListUsersRequest{EmailPrefix: "grace."})),
		lists("by state", few/100, of(&gatehousev1.ListUsersRequest{
			PageSize: few / 100, State: gatehousev1.UserState_USER_STATE_DISABLED,
		})),
		lists("by role", 1, of(&gatehousev1.ListUsersRequest{PageSize: 1, Role: "admin"})),
		{"read of a user", func(tb testing.TB, p *population, round int) int {
			tb.Helper()
			id := p.ids[round*7919%len(p.ids)]
			if _, err := p.service.ReadUser(p.context(tb), &gatehousev1.ReadUserRequest{Id: id}); err != nil {
				tb.Fatal(err)
			}
			return 1
		}, 1},
	}
}

// compare queries both populations in turn, so that whatever else the machine does is shared by both, and gives the
// median times.
func compare(tb testing.TB, asked question, small, large *population) (ofSmall, ofLarge time.Duration) {
	tb.Helper()
	times := map[*population][]time.Duration{}
	for round := range rounds {
		for _, p := range []*population{small, large} {
			began := time.Now()
			users := asked.ask(tb, p, round)
			times[p] = append(times[p], time.Since(began))
			if users < asked.least {
				tb.Fatalf("%s of %d users has %d", asked.name, p.users, users)
			}
		}
	}
	slices.Sort(times[small])
	slices.Sort(times[large])
	return times[small][rounds/2], times[large][rounds/2]
}

// engine makes empty databases.
type engine struct {
	name        string
	newDatabase func(name string) storeconfig.Database
}

func engines(tb testing.TB) []engine {
	tb.Helper()
	// A million users are some 600 MB, and the test kit's server is made for a few.
	server := testkit.StartMariaDB(tb, "--innodb-buffer-pool-size=1G", "--innodb-log-file-size=512M")
	return []engine{
		{"sqlite", func(name string) storeconfig.Database {
			return storeconfig.Database{URL: "sqlite:" + filepath.Join(tb.TempDir(), name)}
		}},
		{"mariadb", func(name string) storeconfig.Database {
			if err := server.CreateDatabase(name); err != nil {
				tb.Fatal(err)
			}
			return storeconfig.Database{URL: server.URL(name)}
		}},
	}
}

// BenchmarkUsers compares a database of many users with one of few, and fails if it is slower by more than maxRatio.
func BenchmarkUsers(b *testing.B) {
	var table strings.Builder
	fmt.Fprintf(&table, "%-8s %-16s %12s %12s %6s\n", "engine", "question", fmt.Sprint(few, " users"),
		fmt.Sprint(*many, " users"), "ratio")
	for _, engine := range engines(b) {
		small, large := settle(b, engine.newDatabase("few"), few), settle(b, engine.newDatabase("many"), *many)
		for _, asked := range questions() {
			ofSmall, ofLarge := compare(b, asked, small, large)
			ratio := float64(ofLarge) / float64(ofSmall)
			fmt.Fprintf(&table, "%-8s %-16s %9d µs %9d µs %6.2f\n", engine.name, asked.name, ofSmall.Microseconds(),
				ofLarge.Microseconds(), ratio)
			if ratio > maxRatio {
				b.Errorf("%s, %s: %.2f times as slow", engine.name, asked.name, ratio)
			}
		}
	}
	fmt.Fprintln(os.Stdout, table.String())
}

// TestPopulation sends the requests of the benchmark: so the benchmark still works when it is needed.
func TestPopulation(t *testing.T) {
	p := settle(t, storeconfig.Database{URL: "sqlite:" + filepath.Join(t.TempDir(), "few")}, few)
	if len(p.ids) != few/pageSize {
		t.Errorf("there are %d pages", len(p.ids))
	}
	for _, asked := range questions() {
		for round := range 2 {
			if users := asked.ask(t, p, round); users < asked.least {
				t.Errorf("%s has %d users, not %d", asked.name, users, asked.least)
			}
		}
	}
}

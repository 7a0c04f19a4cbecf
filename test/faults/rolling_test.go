//go:build long

package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

const (
	// rollingCalls is how many calls are made at least while everything is restarted.
	rollingCalls = 20_000

	// rollingWorkers is how many make calls over each kind of connection.
	rollingWorkers = 3

	// readinessPace is how often the balancer of HTTP asks gateways whether they are ready; many times in drainDelay.
	readinessPace = 50 * time.Millisecond
	drainDelay    = 2 * time.Second
)

// newRollingCluster runs two of each service, of which each uses both of the next, without links.
func newRollingCluster(t *testing.T) *testCluster {
	t.Helper()
	infra := cluster.NewPrivateInfra(t, binary)
	return wrap(cluster.Start(t, infra, cluster.Config{
		Program: binary, Replicas: replicas, StoreArgs: cheapHashes, GatewayArgs: []string{"--drain-delay", drainDelay.String()},
		Route: func(_ string, _ int, addresses []string) string { return strings.Join(addresses, ",") },
	}), nil, openMariaDB(infra))
}

// TestRollingRestart restarts every process, one after the other, while clients over HTTP/1.1, HTTP/2 and
// gRPC make calls of every kind. Not one fails, and no client of the test tries anything twice.
func TestRollingRestart(t *testing.T) {
	c := newRollingCluster(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	load := &steadyLoad{}
	var clients sync.WaitGroup
	first := newBalanced(t, ctx, &clients, c, func(p *http.Protocols) { p.SetHTTP1(true) })
	second := newBalanced(t, ctx, &clients, c, func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) })
	for kind, client := range map[string]client{"HTTP/1.1": first, "HTTP/2": second, "gRPC": newRoundRobin(t, c)} {
		for i := range rollingWorkers {
			address := fmt.Sprintf("%s-%d@example.com", strings.NewReplacer("/", "", ".", "").Replace(kind), i)
			clients.Go(func() { load.run(ctx, kind, client, address) })
		}
	}
	load.await(t, 1)
	restarts := 0
	for load.calls.Load() < rollingCalls || restarts == 0 {
		for _, process := range [][]*cluster.Service{c.Stores, c.Caches, c.Gateways} {
			for _, one := range process {
				restartUnderLoad(t, load, one, first, second)
				restarts++
			}
		}
	}
	cancel()
	clients.Wait()
	failures := load.failures()
	t.Logf("%d restarts, %d calls, %d failed", restarts, load.calls.Load(), len(failures))
	for _, failure := range failures[:min(20, len(failures))] {
		t.Error(failure)
	}
}

// restartUnderLoad stops a process as an operator would, starts it again, and waits until it is used as before.
func restartUnderLoad(t *testing.T, load *steadyLoad, process *cluster.Service, balancers ...*balanced) {
	t.Helper()
	if code, err := process.Stop(); err != nil || code != 0 {
		t.Fatalf("%s ended with %d, %v:\n%s", process.Args[0], code, err, process.Tail())
	}
	load.await(t, 100) // It is missed by nobody.
	if err := process.Process.Start(testkit.Listening(process.Address)); err != nil {
		t.Fatal(err)
	}
	for _, balancer := range balancers {
		testkit.Eventually(t, balancer.complete)
	}
	load.await(t, 100)
}

// steadyLoad makes calls without a pause, and keeps what failed.
type steadyLoad struct {
	calls atomic.Int64

	mu     sync.Mutex
	failed []error
}

// await waits until so many more calls have been answered.
func (l *steadyLoad) await(t *testing.T, more int64) {
	t.Helper()
	before := l.calls.Load()
	testkit.Eventually(t, func() error {
		if l.calls.Load() < before+more {
			return errors.New("no calls are made")
		}
		return nil
	})
}

func (l *steadyLoad) failures() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// run signs up, logs in, and then mostly reads, now and then changes something, until ctx is done.
func (l *steadyLoad) run(ctx context.Context, kind string, with client, address string) {
	call := func(token string, request, response proto.Message) bool {
		within, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err := with.call(within, token, request, response)
		l.calls.Add(1)
		if err != nil {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.failed = append(l.failed, fmt.Errorf("%s: %s: %w", kind, request.ProtoReflect().Descriptor().Name(), err))
		}
		return err == nil
	}
	const password = "correct horse battery staple"
	session := new(gatehousev1.CreateSessionResponse)
	logIn := func() bool {
		return call("", &gatehousev1.CreateSessionRequest{Email: address, Password: password}, session)
	}
	signUp := &gatehousev1.CreateUserRequest{Email: address, FullName: "Ada", Password: password}
	if !call("", signUp, new(gatehousev1.CreateUserResponse)) || !logIn() {
		return
	}
	for n := 0; ctx.Err() == nil; n++ {
		switch token := session.GetAccessToken(); n % 20 {
		case 5:
			update := &gatehousev1.UpdateUserRequest{User: &gatehousev1.User{Id: "me", FullName: fmt.Sprint("Ada ", n)}}
			call(token, update, new(gatehousev1.UpdateUserResponse))
		case 10:
			call(token, &gatehousev1.DeleteSessionRequest{Id: "current"}, new(gatehousev1.DeleteSessionResponse))
			logIn()
		case 15:
			call(token, &gatehousev1.ListSessionsRequest{PageSize: 5}, new(gatehousev1.ListSessionsResponse))
		default:
			call(token, &gatehousev1.ReadUserRequest{Id: "me"}, new(gatehousev1.ReadUserResponse))
		}
	}
}

// balanced is a client with a balancer before the gateways, which sends calls to those that say they are ready.
type balanced struct {
	gateways []*rest
	ready    []atomic.Bool
	turn     atomic.Int64
}

func newBalanced(
	t *testing.T, ctx context.Context, running *sync.WaitGroup, c *testCluster, speak func(*http.Protocols),
) *balanced {
	t.Helper()
	b := &balanced{ready: make([]atomic.Bool, len(c.rest))}
	for i, address := range c.rest {
		transport := &http.Transport{MaxIdleConnsPerHost: 2 * rollingWorkers, Protocols: new(http.Protocols)}
		speak(transport.Protocols)
		t.Cleanup(transport.CloseIdleConnections)
		b.gateways = append(b.gateways, &rest{i, "http://" + address, &http.Client{Transport: transport}})
	}
	for i := range b.gateways {
		b.look(ctx, i)
		running.Go(func() {
			for pause(ctx, readinessPace) {
				b.look(ctx, i)
			}
		})
	}
	return b
}

// look checks whether a gateway is ready, by a connection of its own.
func (b *balanced) look(ctx context.Context, i int) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, b.gateways[i].base+"/readyz", http.NoBody)
	if err != nil {
		return
	}
	request.Close = true
	response, err := b.gateways[i].http.Do(request)
	if err == nil {
		_ = response.Body.Close()
	}
	b.ready[i].Store(err == nil && response.StatusCode == http.StatusOK)
}

// complete fails while a gateway is not taken for ready.
func (b *balanced) complete() error {
	for i := range b.ready {
		if !b.ready[i].Load() {
			return fmt.Errorf("gateway %d is not ready", i)
		}
	}
	return nil
}

func (b *balanced) String() string { return "balanced" }

func (b *balanced) call(ctx context.Context, token string, request, response proto.Message) error {
	turn := int(b.turn.Add(1))
	for n := range b.gateways {
		if i := (turn + n) % len(b.gateways); b.ready[i].Load() {
			return b.gateways[i].call(ctx, token, request, response)
		}
	}
	return errors.New("no gateway is ready")
}

// newRoundRobin is a client of gRPC that knows the addresses of all gateways.
func newRoundRobin(t *testing.T, c *testCluster) client {
	t.Helper()
	list := manual.NewBuilderWithScheme("gateways")
	state := resolver.State{}
	for _, address := range c.native {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: address})
	}
	list.InitialState(state)
	// It looks for a gateway that was away several times in drainDelay, as the balancers of HTTP do. By default a client
	// waits a second and more, and could miss that one is back until the other one has gone.
	again := grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: readinessPace, Multiplier: 1, MaxDelay: readinessPace}}
	conn, err := grpc.NewClient("gateways:///all", grpc.WithResolvers(list), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(again),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &native{0, conn}
}

package load

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
	"github.com/gatehouse-auth/gatehouse/internal/apierr"
)

// callTimeout is the deadline of a call, as an app would set it.
const callTimeout = 10 * time.Second

// outcomes are what became of log-ins.
type outcomes struct {
	served, refused atomic.Int64 // refused are those with OVERLOADED with RetryInfo
	failed          atomic.Pointer[status.Status]
}

// logIn logs an account in once.
func (o *outcomes) logIn(ctx context.Context, conn *grpc.ClientConn, who account) {
	call, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := gatehousev1.NewSessionServiceClient(conn).CreateSession(call, who.logIn)
	if ctx.Err() == nil {
		o.count(status.Convert(err))
	}
}

// count records how a log-in has ended.
func (o *outcomes) count(st *status.Status) {
	switch {
	case st.Code() == codes.OK:
		o.served.Add(1)
	case isOverload(st):
		o.refused.Add(1)
	default:
		o.failed.Store(st)
	}
}

func isOverload(st *status.Status) bool {
	retry := slices.ContainsFunc(st.Details(), func(detail any) bool {
		info, ok := detail.(*errdetails.RetryInfo)
		return ok && info.GetRetryDelay().AsDuration() > 0
	})
	return retry && apierr.ReasonOf(st) == gatehousev1.ErrorReason_ERROR_REASON_OVERLOADED
}

// check fails the test if a log-in failed in another way than by overload.
func (o *outcomes) check(tb testing.TB) {
	tb.Helper()
	if st := o.failed.Load(); st != nil {
		tb.Errorf("a log-in failed with %v, %v", st, st.Details())
	}
}

// closedLoop logs in with so many workers, each of which begins again when it has an answer, until ctx is done.
func closedLoop(ctx context.Context, env *testEnv, conn *grpc.ClientConn, workers int, into *outcomes) {
	var group sync.WaitGroup
	for worker := range workers {
		group.Go(func() {
			for i := worker; ctx.Err() == nil; i += workers {
				into.logIn(ctx, conn, env.accounts[i%len(env.accounts)])
			}
		})
	}
	group.Wait()
}

// openLoop calls at a fixed rate until ctx is done, whatever becomes of the calls before, and tells each when it should
// have begun.
func openLoop(ctx context.Context, perSecond float64, call func(i int, due time.Time)) {
	var group sync.WaitGroup
	defer group.Wait()
	began := time.Now()
	for i := 0; ; i++ {
		due := began.Add(time.Duration(float64(i) / perSecond * float64(time.Second)))
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(due)):
			group.Go(func() { call(i, due) })
		}
	}
}

// reads are how long reads of profiles took, from when they should have begun.
type reads struct {
	mutex sync.Mutex
	took  []time.Duration
	err   error
}

// read reads a profile once.
func (r *reads) read(ctx context.Context, conn *grpc.ClientConn, who account, due time.Time) {
	call, cancel := context.WithTimeout(who.as(context.WithoutCancel(ctx)), callTimeout)
	defer cancel()
	_, err := gatehousev1.NewUserServiceClient(conn).ReadUser(call, &gatehousev1.ReadUserRequest{Id: "me"})
	took := time.Since(due)
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.took = append(r.took, took)
	if err != nil {
		r.err = err
	}
}

// quantile is the time within which such a part of the reads were answered.
func (r *reads) quantile(part float64) time.Duration {
	slices.Sort(r.took)
	return r.took[min(int(float64(len(r.took))*part), len(r.took)-1)]
}

//go:build long

package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

const (
	// callDeadline is how long a worker waits for an answer: longer than anything takes that goes well, shorter than most
	// faults last, so that there are outcomes that nobody knows.
	callDeadline = 2 * time.Second

	// pace is how often a worker does something. It leaves half of two cores to the cluster.
	pace = 10 * time.Millisecond

	// backOff is how long a worker waits after a call of unknown outcome, as a client should. Without it, faults that are
	// noticed at once would make most of the history.
	backOff = 50 * time.Millisecond
)

// worker does one thing after the other, with one transport, at all gateways in turn.
type worker struct {
	number  int
	clients []client // one a gateway
	slots   []*slot
	random  *rand.Rand
	begin   time.Time
	figures *figures
	unique  *atomic.Int64
	turn    int
}

// run works until ctx is done, and ends what it has begun.
func (w *worker) run(ctx context.Context) {
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ticker.C:
			w.work(context.WithoutCancel(ctx), w.slots[w.random.IntN(len(w.slots))].life())
		case <-ctx.Done():
		}
	}
}

func (w *worker) work(ctx context.Context, l *life) {
	stage := l.enter()
	if stage == retired {
		return
	}
	defer l.leave()
	switch stage {
	case unborn:
		w.signUp(ctx, l)
	case living:
		w.live(ctx, l)
	case dying:
		w.deleteUser(ctx, l)
	default:
		w.haunt(ctx, l)
	}
}

// live does one of what is done with an account, as often as the number says.
func (w *worker) live(ctx context.Context, l *life) {
	with := l.active(w.random)
	if with == nil {
		w.logIn(ctx, l)
		return
	}
	choices := []struct {
		weight int
		do     func()
	}{
		{30, func() { w.read(ctx, l, with) }},
		{12, func() { w.readEnded(ctx, l) }},
		{3, func() { w.list(ctx, l, with) }},
		{22, func() { w.update(ctx, l, with, 0) }},
		{8, func() { w.update(ctx, l, with, l.lastVersion()) }},
		{8, func() { w.logIn(ctx, l) }},
		{6, func() { w.refresh(ctx, l, with) }},
		{5, func() { w.logOut(ctx, l, with, with) }},
		{3, func() { w.logOut(ctx, l, with, l.active(w.random)) }},
		{2, func() { w.endSessions(ctx, l, with, endOthers) }},
		{1, func() { w.endSessions(ctx, l, with, endAll) }},
		{3, func() { w.changePassword(ctx, l, with) }},
	}
	total := 0
	for _, choice := range choices {
		total += choice.weight
	}
	left := w.random.IntN(total)
	for _, choice := range choices {
		if left -= choice.weight; left < 0 {
			choice.do()
			return
		}
	}
}

// try makes one call and records what came of it. Seen reads the answer.
func (w *worker) try(
	ctx context.Context, l *life, o *operation, access string, request, response proto.Message, seen func() seen,
) *operation {
	o.call = time.Since(w.begin)
	at := w.next()
	err := w.send(ctx, at, access, request, response)
	o.done = time.Since(w.begin)
	o.outcome, o.reason = judge(err)
	if o.outcome == accepted && seen != nil {
		o.seen = seen()
	}
	w.finish(l, o, at)
	if o.outcome == unknown {
		pause(ctx, backOff)
	}
	return o
}

func (w *worker) next() int {
	w.turn++
	return w.turn % len(w.clients)
}

func (w *worker) send(ctx context.Context, at int, access string, request, response proto.Message) error {
	ctx, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	return w.clients[at].call(ctx, access, request, response)
}

func (w *worker) finish(l *life, o *operation, at int) {
	o.worker, o.via = w.number, w.clients[at].String()
	l.record(o)
	w.figures.count(o, at)
}

func seenIn(user *gatehousev1.User) seen {
	return seen{id: user.GetId(), version: user.GetVersion(), value: user.GetFullName()}
}

func (w *worker) name(prefix string) string { return fmt.Sprintf("%s%d", prefix, w.unique.Add(1)) }

// read reads the profile, or the session with the profile; the cache serves both if it can.
func (w *worker) read(ctx context.Context, l *life, with *token) {
	o := &operation{kind: read, session: with.id}
	if w.random.IntN(3) == 0 {
		answer := new(gatehousev1.ReadSessionResponse)
		w.try(ctx, l, o, l.access(with), &gatehousev1.ReadSessionRequest{Id: "current"}, answer,
			func() seen { return seenIn(answer.GetUser()) })
		return
	}
	answer := new(gatehousev1.ReadUserResponse)
	w.try(ctx, l, o, l.access(with), &gatehousev1.ReadUserRequest{Id: "me"}, answer,
		func() seen { return seenIn(answer.GetUser()) })
}

// readEnded tries a token that must no longer be valid.
func (w *worker) readEnded(ctx context.Context, l *life) {
	if with := l.over(w.random); with != nil {
		w.read(ctx, l, with)
	}
}

// look reads at the next gateway what this one has just changed: there a stale answer is most likely. If the outcome is
// not known, it asks the store first: what that has said, the cache must not contradict.
func (w *worker) look(ctx context.Context, l *life, o *operation, with *token) {
	if o.outcome == unknown {
		if asks := l.active(w.random); asks != nil {
			w.list(ctx, l, asks)
		}
	}
	if o.outcome != refused && with != nil {
		w.read(ctx, l, with)
	}
}

func (w *worker) list(ctx context.Context, l *life, with *token) {
	answer := new(gatehousev1.ListSessionsResponse)
	w.try(ctx, l, &operation{kind: list, session: with.id}, l.access(with), &gatehousev1.ListSessionsRequest{PageSize: 100},
		answer, func() seen {
			var ids strings.Builder
			for _, session := range answer.GetSessions() {
				ids.WriteString(session.GetId() + " ")
			}
			return seen{listed: true, sessions: ids.String()}
		})
}

func (w *worker) update(ctx context.Context, l *life, with *token, version int64) {
	o := &operation{kind: update, session: with.id, value: w.name("n"), wantVersion: version}
	request := &gatehousev1.UpdateUserRequest{User: &gatehousev1.User{Id: "me", FullName: o.value}, Version: version}
	answer := new(gatehousev1.UpdateUserResponse)
	w.try(ctx, l, o, l.access(with), request, answer, func() seen { return seenIn(answer.GetUser()) })
	w.look(ctx, l, o, with)
}

func (w *worker) endSessions(ctx context.Context, l *life, with *token, how kind) {
	o := &operation{kind: how, session: with.id}
	answer := new(gatehousev1.DeleteAllSessionsResponse)
	w.try(ctx, l, o, l.access(with), &gatehousev1.DeleteAllSessionsRequest{KeepCurrent: how == endOthers}, answer,
		func() seen {
			o.target = answer.GetSessionId()
			return seenIn(answer.GetUser())
		})
	if o.target != "" && answer.GetRefreshToken() != "" { // Without one the session ends soon, by itself.
		l.opened(&token{id: o.target, access: answer.GetAccessToken(), refresh: answer.GetRefreshToken()})
	}
	others := l.over(w.random)
	if others == nil {
		others = with
	}
	w.look(ctx, l, o, others)
}

func (w *worker) logOut(ctx context.Context, l *life, with, of *token) {
	if of == nil {
		return
	}
	o := &operation{kind: logOut, session: with.id, target: of.id}
	id := of.id
	if of == with {
		id = "current"
	}
	w.try(ctx, l, o, l.access(with), &gatehousev1.DeleteSessionRequest{Id: id}, new(gatehousev1.DeleteSessionResponse), nil)
	w.look(ctx, l, o, of)
}

// logIn opens a session, unless there are enough.
func (w *worker) logIn(ctx context.Context, l *life) {
	if l.activeCount() >= maxSessions {
		return
	}
	o := &operation{kind: logIn, password: l.password()}
	w.logInWith(ctx, l, o)
}

func (w *worker) logInWith(ctx context.Context, l *life, o *operation) {
	request := &gatehousev1.CreateSessionRequest{Email: l.address, Password: o.password}
	answer := new(gatehousev1.CreateSessionResponse)
	w.try(ctx, l, o, "", request, answer, func() seen {
		o.target = answer.GetSessionId()
		return seen{}
	})
	switch {
	case o.outcome == accepted:
		l.opened(&token{id: o.target, access: answer.GetAccessToken(), refresh: answer.GetRefreshToken()})
		l.learn(o.password, true)
	case o.reason == "INVALID_CREDENTIALS":
		l.learn(o.password, false)
	}
}

// refresh exchanges the refresh token, as a client should: one at a time, and the same again if there was no answer.
func (w *worker) refresh(ctx context.Context, l *life, of *token) {
	if !of.refreshing.TryLock() {
		return
	}
	defer of.refreshing.Unlock()
	o := &operation{kind: refresh, session: of.id, target: of.id}
	answer := new(gatehousev1.RefreshSessionResponse)
	w.try(ctx, l, o, "", &gatehousev1.RefreshSessionRequest{RefreshToken: of.refresh}, answer, nil)
	if o.outcome == accepted {
		of.refresh = answer.GetRefreshToken()
		l.renewed(of, answer.GetAccessToken())
	}
}

func (w *worker) changePassword(ctx context.Context, l *life, with *token) {
	o := &operation{kind: changePassword, session: with.id, password: l.password(), change: w.name("unusual secret ")}
	request := &gatehousev1.ChangePasswordRequest{Id: "me", CurrentPassword: o.password, NewPassword: o.change}
	answer := new(gatehousev1.ChangePasswordResponse)
	w.try(ctx, l, o, l.access(with), request, answer, func() seen {
		o.target = answer.GetSessionId()
		return seenIn(answer.GetUser())
	})
	if o.outcome == unknown {
		w.logInWith(ctx, l, &operation{kind: logIn, password: o.change}) // Learns whether it is the right one.
		w.look(ctx, l, o, l.active(w.random))
		return
	}
	if o.reason == "PASSWORD_WRONG" {
		l.learn(o.password, false)
	}
	if o.outcome == accepted {
		l.opened(&token{id: o.target, access: answer.GetAccessToken(), refresh: answer.GetRefreshToken()})
		l.learn(o.change, true)
		w.look(ctx, l, o, l.over(w.random))
	}
}

// maxTries bounds how often a sign-up is sent again.
const maxTries = 3

// maxContenders bounds how many sign up with one address at once.
const maxContenders = 2

// signUp makes the account, beside others who try the same. One that got no answer is sent again under its request id,
// which is one operation.
func (w *worker) signUp(ctx context.Context, l *life) {
	if !l.contend() {
		return
	}
	o := &operation{kind: signUp, value: w.name("n"), password: w.name("unusual secret ")}
	request := &gatehousev1.CreateUserRequest{
		Email: l.address, FullName: o.value, Password: o.password, RequestId: w.name(l.address + "."),
	}
	answer := new(gatehousev1.CreateUserResponse)
	o.call = time.Since(w.begin)
	at := 0
	for range maxTries {
		at = w.next()
		o.outcome, o.reason = judge(w.send(ctx, at, "", request, answer))
		if o.outcome != unknown {
			break
		}
		pause(ctx, 4*backOff)
	}
	o.done = time.Since(w.begin)
	if o.outcome == accepted {
		o.seen = seenIn(answer.GetUser())
	}
	w.finish(l, o, at)
	if o.outcome == unknown {
		w.logInWith(ctx, l, &operation{kind: logIn, password: o.password})
	}
	l.contended(o)
}

// deleteUser ends the life. With an outcome that is not known it may go on; then nobody cares.
func (w *worker) deleteUser(ctx context.Context, l *life) {
	with := l.active(w.random)
	if with == nil {
		w.logInWith(ctx, l, &operation{kind: logIn, password: l.password()})
		with = l.active(w.random)
	}
	if with != nil {
		w.try(ctx, l, &operation{kind: deleteUser, session: with.id}, l.access(with),
			&gatehousev1.DeleteUserRequest{Id: "me"}, new(gatehousev1.DeleteUserResponse), nil)
	}
	l.become(dead)
}

// haunt tries what must not be possible after a deletion.
func (w *worker) haunt(ctx context.Context, l *life) {
	if w.random.IntN(4) == 0 {
		w.logInWith(ctx, l, &operation{kind: logIn, password: l.password()})
		return
	}
	with := l.over(w.random)
	if with == nil {
		with = l.active(w.random)
	}
	if with == nil {
		l.become(retired)
		return
	}
	w.read(ctx, l, with)
}

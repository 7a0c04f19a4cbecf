package password

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gatehouse-auth/gatehouse/internal/deadlines"
)

// TestQueueOfOneClient is about calls that all come from one client.
func TestQueueOfOneClient(t *testing.T) {
	inBubble(t, "calls are served in order", func(t *testing.T) {
		q := newTestQueue(1)
		var outcomes []<-chan error
		for i := range 10 {
			outcomes = append(outcomes, q.send(t.Context(), 0, fmt.Sprint(i)))
		}
		wantAllServed(t, outcomes)
		q.wantServed(t, "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	})
	inBubble(t, "what would wait for longer than deadlines.HashQueue is refused at once", func(t *testing.T) {
		const slots = 2
		q := newTestQueue(slots)
		began := time.Now()
		outcomes := q.sendMany(t.Context(), slots+slots*int(deadlines.HashQueue/workTime), 0, "")
		wantRetry(t, <-q.send(t.Context(), 0, "one more"), deadlines.HashQueue+workTime/slots)
		if waited := time.Since(began); waited != 0 {
			t.Errorf("it was refused after %v", waited)
		}
		wantOverloaded(t, q.admit(t.Context(), clientAt(0)))
		wantAllServed(t, outcomes)
		if took := time.Since(began); took != deadlines.HashQueue+workTime {
			t.Errorf("the last was done after %v", took)
		}
	})
	inBubble(t, "what would miss its deadline is refused at once", testDeadline)
	inBubble(t, "a call that has gone holds no slot", testGone)
	inBubble(t, "a few are no overload where hashes are expensive", func(t *testing.T) {
		q := &testQueue{queue: newQueue(1, unlimited)}
		q.observe(deadlines.HashQueue)
		outcomes := q.sendMany(t.Context(), 1+minQueuePerSlot, 0, "")
		wantRetry(t, <-q.send(t.Context(), 0, ""), deadlines.HashQueue*(1+minQueuePerSlot))
		hop, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		wantOverloaded(t, <-q.send(hop, 0, ""))
		wantAllServed(t, outcomes)
	})
	inBubble(t, "the length is bounded where hashes are cheap", func(t *testing.T) {
		q := &testQueue{queue: newQueue(1, unlimited)}
		outcomes := q.sendMany(t.Context(), 1+maxQueuePerSlot, 0, "")
		wantRetry(t, <-q.send(t.Context(), 0, ""), time.Second)
		wantAllServed(t, outcomes)
	})
}

func testDeadline(t *testing.T) {
	q := newTestQueue(1)
	before := q.sendMany(t.Context(), 3, 0, "before")
	within := func(after time.Duration) context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), after)
		t.Cleanup(cancel)
		return ctx
	}
	late, inTime := within(4*workTime-1), within(4*workTime+1)
	wantOverloaded(t, q.admit(late, clientAt(0)))
	began := time.Now()
	wantRetry(t, <-q.send(late, 0, "late"), time.Second)
	if waited := time.Since(began); waited != 0 {
		t.Errorf("it was refused after %v", waited)
	}
	if err := <-q.send(inTime, 0, "in time"); err != nil {
		t.Errorf("there was time: %v", err)
	}
	wantAllServed(t, before)
	// Nothing is before this one: that its deadline is too near is its own fault.
	leave, err := q.acquire(within(workTime/2), clientAt(0), 0)
	if err != nil {
		t.Fatal(err)
	}
	leave()
	q.wantServed(t, "before", "before", "before", "in time")
}

func testGone(t *testing.T) {
	q := newTestQueue(1)
	first := q.send(t.Context(), 0, "first")
	ctx, cancel := context.WithCancel(t.Context())
	second, third := q.send(ctx, 0, "second"), q.send(t.Context(), 0, "third")
	cancel()
	if err := <-second; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that left got %v", err)
	}
	wantAllServed(t, []<-chan error{first, third})
	fourth := q.send(t.Context(), 0, "fourth")
	inThatMoment := &lateCancel{Context: t.Context()}
	fifth := q.send(inThatMoment, 0, "fifth")
	inThatMoment.gone.Store(true)
	wantAllServed(t, []<-chan error{fourth})
	if err := <-fifth; !errors.Is(err, context.Canceled) {
		t.Errorf("the one that left when it was admitted got %v", err)
	}
	q.wantServed(t, "first", "third", "fourth")
	if q.running != 0 || len(q.waiting) != 0 || len(q.clients) != 0 {
		t.Errorf("%d are running, %d waiting, %d clients known", q.running, len(q.waiting), len(q.clients))
	}
}

// TestQueueOfManyClients is about what clients can take from each other.
func TestQueueOfManyClients(t *testing.T) {
	const flooder, bystander = 1, 2
	inBubble(t, "a bystander waits for one call of a flooder at a time", func(t *testing.T) {
		q := newTestQueue(1)
		ctx, cancel := context.WithCancel(t.Context())
		q.sendMany(ctx, 2*maxQueuePerSlot, flooder, "flood")
		q.mutex.Lock()
		q.served = nil
		q.mutex.Unlock()
		wantAllServed(t, q.sendMany(t.Context(), 4, bystander, "bystander"))
		want := []string{"bystander", "flood", "bystander", "flood", "bystander", "flood", "bystander"}
		if served := q.servedSoFar(); !slices.Equal(served[:len(want)], want) { // The flood goes on.
			t.Errorf("served are %v, want %v", served, want)
		}
		cancel()
		q.drain()
	})
	inBubble(t, "the deadline of a bystander is no reason to refuse it in a flood", func(t *testing.T) {
		q := newTestQueue(1)
		ctx, cancel := context.WithCancel(t.Context())
		q.sendMany(ctx, 2*maxQueuePerSlot, flooder, "flood")
		hurried, stop := context.WithTimeout(t.Context(), 3*workTime)
		defer stop()
		if err := <-q.send(hurried, bystander, "bystander"); err != nil {
			t.Error(err)
		}
		cancel()
		q.drain()
	})
	inBubble(t, "clients get equal shares, however much each sends", testEqualShares)
	inBubble(t, "a client that sends one call at a time gets no more than one that sends many", func(t *testing.T) {
		q := newTestQueue(1)
		outcomes := q.sendMany(t.Context(), 6, flooder, "many")
		for range 3 {
			wantAllServed(t, []<-chan error{q.send(t.Context(), bystander, "single")})
		}
		wantAllServed(t, outcomes)
		q.wantServed(t, "many", "single", "many", "single", "many", "single", "many", "many", "many")
	})
	inBubble(t, "a client that did not wait is served before those that did", func(t *testing.T) {
		q := newTestQueue(1)
		ctx, cancel := context.WithCancel(t.Context())
		for range 3 {
			for client := range 10 {
				q.send(ctx, 1+client, "flood")
			}
		}
		time.Sleep(15 * workTime)
		synctest.Wait()
		served := q.servedSoFar()
		wantAllServed(t, q.sendMany(t.Context(), 1, 11, "bystander"))
		if next := q.servedSoFar()[len(served)]; next != "bystander" {
			t.Errorf("%s is served next", next)
		}
		cancel()
		q.drain()
	})
	inBubble(t, "a full queue drops the newest call of the largest client", testDisplacement)
	inBubble(t, "the first call of a client is not refused for others that wait", func(t *testing.T) {
		q := newTestQueue(1)
		for i := range maxQueuePerSlot {
			q.send(t.Context(), 1+i, "")
		}
		outcome := q.send(t.Context(), maxQueuePerSlot+1, "")
		if wait := q.wait(maxQueuePerSlot); wait <= deadlines.HashQueue {
			t.Fatalf("the wait is %v", wait)
		}
		wantOverloaded(t, q.admit(t.Context(), clientAt(1)))
		wantAllServed(t, []<-chan error{outcome})
		q.drain()
	})
	inBubble(t, "the calls after one that has gone move up", func(t *testing.T) {
		q := newTestQueue(1)
		running := q.send(t.Context(), 3, "running")
		ctx, cancel := context.WithCancel(t.Context())
		gone := q.send(ctx, bystander, "gone")
		others := q.sendMany(t.Context(), 3, flooder, "flood")
		next := q.send(t.Context(), bystander, "next")
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		wantAllServed(t, append(others, running, next))
		q.wantServed(t, "running", "next", "flood", "flood", "flood")
	})
	inBubble(t, "the table of clients is bounded", testManyNetworks)
}

func testEqualShares(t *testing.T) {
	const clients = 5
	q := newTestQueue(2)
	ctx, cancel := context.WithCancel(t.Context())
	q.sendMany(ctx, 2, 1+clients, "running")
	for client := range clients {
		q.sendMany(ctx, 6+3*client, 1+client, fmt.Sprint(client))
	}
	for range 10 {
		time.Sleep(workTime)
		synctest.Wait()
	}
	cancel()
	q.drain()
	count := map[string]int{}
	for _, name := range q.servedSoFar() {
		count[name]++
	}
	for client := range clients {
		if got := count[fmt.Sprint(client)]; got != 4 {
			t.Errorf("client %d got %d of %d slots", client, got, len(q.served))
		}
	}
}

func testDisplacement(t *testing.T) {
	const flooder, bystander = 1, 2
	q := newTestQueue(1)
	q.observe(time.Nanosecond)
	q.serviceTime = time.Nanosecond // So that the length alone bounds the queue.
	flood := q.sendMany(t.Context(), 1+maxQueuePerSlot, flooder, "flood")
	wantOverloaded(t, <-q.send(t.Context(), flooder, "too much"))
	first := q.send(t.Context(), bystander, "first")
	wantOverloaded(t, <-flood[maxQueuePerSlot])
	second := q.send(t.Context(), bystander, "second")
	wantOverloaded(t, <-flood[maxQueuePerSlot-1])
	wantOverloaded(t, q.admit(t.Context(), clientAt(flooder)))
	wantAllServed(t, append(flood[:maxQueuePerSlot-1], first, second))
	if q.served[1] != "first" && q.served[2] != "first" {
		t.Errorf("served are %v", q.served)
	}
}

// testManyNetworks sends calls of clients without number while one waits for memory.
func testManyNetworks(t *testing.T) {
	q := newTestQueue(2)
	q.memory = 1
	running := q.sendBytes(t.Context(), 1, "running", 1)
	ctx, cancel := context.WithCancel(t.Context())
	q.sendBytes(ctx, 2, "waiting", 1)
	const most = 2 * 2 * maxQueuePerSlot
	for n := range 2 * most {
		short, stop := context.WithCancel(t.Context())
		outcome := q.send(short, 3+n, "gone")
		stop()
		if err := <-outcome; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	if got := len(q.clients); got > most {
		t.Errorf("%d clients are remembered", got)
	}
	cancel()
	wantAllServed(t, []<-chan error{running})
	q.drain()
}

// TestQueueMemory is about calls that hold memory.
func TestQueueMemory(t *testing.T) {
	inBubble(t, "calls wait until what they need is free", func(t *testing.T) {
		q := newTestQueue(4)
		q.memory = 100
		var outcomes []<-chan error
		for i, bytes := range []int64{60, 40, 50, 60, 100, 100} {
			outcomes = append(outcomes, q.sendBytes(t.Context(), 1+i, fmt.Sprint(bytes), bytes))
		}
		q.wantServed(t, "60", "40")
		time.Sleep(workTime)
		synctest.Wait()
		q.wantServed(t, "60", "40", "50")
		wantAllServed(t, outcomes)
		q.wantServed(t, "60", "40", "50", "60", "100", "100")
		if q.held != 0 {
			t.Errorf("%d bytes are held", q.held)
		}
	})
	inBubble(t, "a large call is not overtaken by small ones", func(t *testing.T) {
		q := newTestQueue(2)
		q.memory = 100
		first := q.sendBytes(t.Context(), 1, "small", 10)
		large := q.sendBytes(t.Context(), 2, "large", 100)
		ctx, cancel := context.WithCancel(t.Context())
		q.sendBytes(ctx, 3, "later", 10)
		wantAllServed(t, []<-chan error{first, large})
		q.drain()
		cancel()
		q.wantServed(t, "small", "large", "later")
	})
	inBubble(t, "when a large call has gone, those behind it are admitted", func(t *testing.T) {
		q := newTestQueue(2)
		q.memory = 100
		first := q.sendBytes(t.Context(), 1, "first", 10)
		ctx, cancel := context.WithCancel(t.Context())
		large := q.sendBytes(ctx, 2, "large", 100)
		small := q.sendBytes(t.Context(), 3, "small", 10)
		cancel()
		<-large
		synctest.Wait()
		q.wantServed(t, "first", "small")
		wantAllServed(t, []<-chan error{first, small})
	})
}

// TestObserve checks that fewer calls may wait when hashes become slower, and more when they become faster.
func TestObserve(t *testing.T) {
	q := newQueue(1, unlimited)
	waiting := int(deadlines.HashQueue / workTime)
	for _, test := range []struct {
		took time.Duration
		want bool
	}{{workTime, true}, {2 * workTime, false}, {workTime / 2, true}} {
		for range 10 * ewmaWindow {
			q.observe(test.took)
		}
		if got := q.wait(waiting) <= deadlines.HashQueue; got != test.want {
			t.Errorf("with calls of %v, %d may wait: %v", test.took, waiting, got)
		}
	}
}

func wantOverloaded(t *testing.T, err error) {
	t.Helper()
	if _, ok := errors.AsType[*OverloadedError](err); !ok {
		t.Errorf("the error is %v, want an OverloadedError", err)
	}
}

func wantRetry(t *testing.T, err error, want time.Duration) {
	t.Helper()
	if overloaded, ok := errors.AsType[*OverloadedError](err); !ok || overloaded.RetryAfter != want {
		t.Errorf("the error is %v, want an OverloadedError to retry after %v", err, want)
	}
}

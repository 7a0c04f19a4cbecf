//go:build long

package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-auth/gatehouse/test/cluster"
)

// staleness is for how long reads may be outdated that a fault affects. The zero value is not at all.
type staleness struct {
	// settle is for how long after the fault reads are affected.
	settle time.Duration
	// bound is by how much they may be outdated; 0 is since the fault began.
	bound time.Duration
}

// untilFlushed is the staleness of faults in which a cache service cannot write changes to Redis. The others do not see
// them until the fault is over and the pending invalidations are flushed: 100 ms later, with the timeout 1.1 s, and
// longer if there are many (ADR 0006, "Consequences").
var untilFlushed = staleness{settle: 2500 * time.Millisecond}

// byFeed is the staleness of faults in which gateways bypass a cache service: others learn of these changes from the
// feed. Gateways use the cache service again a second after the fault.
var byFeed = staleness{settle: 3 * time.Second, bound: time.Second}

// unheard is for how long caches may not know of a write that was done and not acknowledged: as long as two faults at
// once keep them from the feed, which tells it within a second otherwise.
const unheard = 15 * time.Second

// fault is something that goes wrong for a while.
type fault struct {
	name  string
	on    string // what it is about; of two faults at once each is about something else
	stale staleness
	// begin starts the fault and returns the function that ends it.
	begin func(ctx context.Context) (end func() error, err error)
}

// catalogue contains every fault of a cluster.
func (c *testCluster) catalogue(random *rand.Rand) []fault {
	var all []fault
	for kind, servers := range map[string][]*cluster.Service{"gateway": c.Gateways, "cache": c.Caches, "store": c.Stores} {
		for i, server := range servers {
			name := fmt.Sprintf("%s %d", kind, i)
			stale := staleness{}
			if kind == "cache" {
				stale = byFeed
			}
			all = append(all, killed(name, server, stale), frozen(name, server, stale),
				misled(name, server, wrongClock, stale), misled(name, server, -wrongClock, stale))
		}
	}
	all = append(all, killed("mariadb", c.MariaDB, staleness{}), frozen("mariadb", c.MariaDB, staleness{}), frozen("redis", c.Redis, untilFlushed))
	all = append(all, c.redisFaults(random)...)
	for kind := range c.links {
		all = append(all, c.linkFaults(kind)...)
	}
	return all
}

func killed(name string, s server, stale staleness) fault {
	return fault{name: name + " is killed", on: name, stale: stale, begin: func(context.Context) (func() error, error) {
		s.Kill()
		return s.Start, nil
	}}
}

func frozen(name string, s server, stale staleness) fault {
	return fault{name: name + " is frozen", on: name, stale: stale, begin: func(context.Context) (func() error, error) {
		return s.Thaw, s.Freeze()
	}}
}

// wrongClock is how far the clock of a process is off: more than machines are that ask for the time at all.
const wrongClock = 5 * time.Minute

// misled is a process that is killed and comes back with a wrong clock; in the end it does so with the right one.
func misled(name string, s *cluster.Service, ahead time.Duration, stale staleness) fault {
	return fault{
		name: fmt.Sprintf("%s's clock is %v off", name, ahead), on: name, stale: stale,
		begin: func(context.Context) (func() error, error) {
			program, env := s.Path, s.Env
			wrong := append(slices.Clip(env), fmt.Sprintf("%s=%v", clockVariable, ahead))
			restart := s.RestartAs
			return func() error { return restart(program, env) }, restart(withWrongClock, wrong)
		},
	}
}

// slow is the delay of each piece on a slow link, one way: much more than between machines of one site, and less than
// any timeout of Redis's clients.
const slow = 40 * time.Millisecond

func (c *testCluster) linkFaults(kind string) []fault {
	cutsOff := staleness{}
	switch kind {
	case "cache→redis":
		cutsOff = untilFlushed
	case "gateway→cache":
		cutsOff = byFeed
	}
	all := []fault{
		onLinks(kind+" is slow", kind, c.links[kind], condition{delay: slow}, staleness{}),
		onLinks(kind+" is slow for one", kind, c.links[kind][:1], condition{delay: slow}, staleness{}),
		onLinks(kind+" is cut", kind, c.links[kind][:1], condition{cut: true}, cutsOff),
		onLinks(kind+" is cut for all", kind, c.links[kind], condition{cut: true}, cutsOff),
		onLinks(kind+" swallows everything", kind, c.links[kind][:1], condition{noThere: true, noBack: true}, cutsOff),
		onLinks(kind+" swallows answers", kind, c.links[kind][1:], condition{noBack: true}, cutsOff),
	}
	if kind == "cache→redis" {
		all = append(all, onLinks(kind+" is slower than its timeout", kind, c.links[kind][1:],
			condition{delay: 1200 * time.Millisecond}, untilFlushed))
	}
	return all
}

func onLinks(name, on string, links []*link, c condition, stale staleness) fault {
	set := func(c condition) {
		for _, link := range links {
			link.set(c)
		}
	}
	return fault{name: name, on: on, stale: stale, begin: func(context.Context) (func() error, error) {
		set(c)
		return func() error {
			// What could not get through comes late, as over a network that is well again. Answers alone never come: what
			// was asked for has been done then, and who asked is told that the connection is gone.
			set(condition{cut: c.noBack && !c.noThere})
			set(condition{})
			return nil
		}, nil
	}}
}

func (c *testCluster) redisFaults(random *rand.Rand) []fault {
	return []fault{
		{name: "redis is killed and comes back empty", on: "redis", begin: func(context.Context) (func() error, error) {
			c.Redis.Kill()
			return c.Redis.Start, c.ForgetDump()
		}},
		{name: "redis is killed and comes back with old data", on: "redis", begin: c.restartWithOldData},
		{name: "redis is full", on: "redis", stale: untilFlushed, begin: func(ctx context.Context) (func() error, error) {
			return c.fillRedis(ctx, "noeviction", 0)
		}},
		{name: "redis is full and evicts", on: "redis", begin: func(ctx context.Context) (func() error, error) {
			return c.fillRedis(ctx, "allkeys-lru", 64<<10)
		}},
		{name: "redis is poisoned", on: "redis", begin: func(ctx context.Context) (func() error, error) {
			return c.poison(ctx, random)
		}},
	}
}

// restartWithOldData saves the content of Redis, waits for more, and restarts it with the saved content.
func (c *testCluster) restartWithOldData(ctx context.Context) (func() error, error) {
	client := c.Redis.Client()
	defer func() { _ = client.Close() }()
	if err := client.Save(ctx).Err(); err != nil {
		return nil, fmt.Errorf("save: %w", err)
	}
	pause(ctx, time.Second)
	c.Redis.Kill()
	return c.startRedisAgain, nil
}

func (c *testCluster) startRedisAgain() error { return errors.Join(c.Redis.Start(), c.ForgetDump()) }

// fillRedis bounds the memory of Redis to what it has now, and so much more.
func (c *testCluster) fillRedis(ctx context.Context, policy string, more int64) (func() error, error) {
	client := c.Redis.Client()
	used, err := client.InfoMap(ctx, "memory").Result()
	if err == nil {
		var bytes int64
		_, err = fmt.Sscan(used["Memory"]["used_memory"], &bytes)
		err = errors.Join(err, client.ConfigSet(ctx, "maxmemory-policy", policy).Err(),
			client.ConfigSet(ctx, "maxmemory", fmt.Sprint(bytes+more)).Err())
	}
	return func() error {
		return errors.Join(client.ConfigSet(context.WithoutCancel(ctx), "maxmemory", "0").Err(), client.Close())
	}, err
}

// poisonings is how many entries are poisoned while the fault lasts, one each poisonPace.
const (
	poisonings = 100
	poisonPace = 10 * time.Millisecond
)

// poison corrupts entries of Redis, as an attacker could who can write to it but does not know the key of caches, or
// as a broken machine does. It lasts as long as it takes.
func (c *testCluster) poison(ctx context.Context, random *rand.Rand) (func() error, error) {
	client := c.Redis.Client()
	defer func() { _ = client.Close() }()
	for range poisonings {
		key, err := client.RandomKey(ctx).Result()
		if errors.Is(err, redis.Nil) {
			continue
		}
		other, otherErr := client.RandomKey(ctx).Result()
		if err = errors.Join(err, otherErr); err == nil {
			err = poisonOne(ctx, client, key, other, random.IntN(5))
		}
		if err != nil && !errors.Is(err, redis.Nil) && !redis.HasErrorPrefix(err, "WRONGTYPE") {
			return nil, fmt.Errorf("poison: %w", err)
		}
		pause(ctx, poisonPace)
	}
	return func() error { return nil }, nil
}

func poisonOne(ctx context.Context, client *redis.Client, key, other string, how int) error {
	held, err := client.Get(ctx, key).Bytes()
	if err != nil || len(held) == 0 {
		return err
	}
	const lives = 10 * time.Minute
	switch how {
	case 0: // Another type.
		return errors.Join(client.Del(ctx, key).Err(), client.RPush(ctx, key, "poison").Err())
	case 1: // Cut off.
		return client.Set(ctx, key, held[:len(held)/2], lives).Err()
	case 2: // Another's: another user's, or of another session.
		others, err := client.Get(ctx, other).Bytes()
		return errors.Join(err, client.Set(ctx, key, others, lives).Err())
	case 3: // A rank from the future, which nothing true would replace.
		if len(held) > 8 {
			held[2] ^= 1
		}
		return client.Set(ctx, key, held, lives).Err()
	default: // One bit, anywhere.
		held[len(held)-1-len(held)/3] ^= 4
		return client.Set(ctx, key, held, lives).Err()
	}
}

// episode is a fault that happened, in time since the run began.
type episode struct {
	name         string
	begin, ended time.Duration
	stale        staleness
}

func (e episode) String() string {
	text := fmt.Sprintf("%9.3f –%9.3f  %s", e.begin.Seconds(), e.ended.Seconds(), e.name)
	if e.stale != (staleness{}) {
		text += " (reads may be outdated)"
	}
	return text
}

// excuses returns by how much the operation may be outdated because of the episode.
func (e episode) excuses(o *operation) time.Duration {
	if e.stale == (staleness{}) || o.done < e.begin || o.call > e.ended+e.stale.settle {
		return 0
	}
	if e.stale.bound > 0 {
		return e.stale.bound
	}
	return max(0, o.call-e.begin)
}

// chronicle is all that went wrong.
type chronicle []episode

func (c chronicle) excuses(o *operation) time.Duration {
	longest := time.Duration(0)
	for _, e := range c {
		longest = max(longest, e.excuses(o))
	}
	return longest
}

// around returns what went wrong shortly before the operation's end, and during it.
func (c chronicle) around(o *operation) []episode {
	var near []episode
	for _, e := range c {
		if o == nil || e.begin <= o.done && e.ended >= o.call-4*before {
			near = append(near, e)
		}
	}
	return near
}

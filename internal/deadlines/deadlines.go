// Package deadlines holds the deadlines, retry counts and breaker settings of every link that a call passes:
//
//	client > gateway > cache > store > database
//
// They stand in one place because they depend on each other: what is inside must end before what is around it, so that
// the caller receives an error with a reason, and not the silence of its own timeout. TestNesting checks that. gRPC
// passes the time that is left on from hop to hop; these bounds apply where a caller allows more.
//
// ADR 0029 names what each of them prevents.
package deadlines

import "time"

// Client to gateway, over REST and native gRPC.
const (
	// ReadHeaders bounds the time for the headers of a request.
	ReadHeaders = 5 * time.Second

	// ReadRequest bounds the time for the whole request, body included.
	ReadRequest = 15 * time.Second

	// Request bounds the time from the headers of a request to the last byte of its response.
	Request = 30 * time.Second
)

// Between services.
const (
	// Call bounds a unary call to another service.
	Call = 10 * time.Second

	// Reconnect bounds the wait of a call that could not be sent for a connection to any replica: about as long as one
	// takes to start.
	Reconnect = time.Second

	// Drain is how long calls in progress may take to end once a service was told to stop.
	Drain = 10 * time.Second
)

// Gateway to cache. A call that the cache service does not answer goes to the store instead.
const (
	// CacheProbeAfter is how long a call waits for the cache service before the gateway probes it, and the time from
	// one probe to the next while the call waits. A cache service that answers probes is waited for: it may wait for the
	// store itself, and then the store has no time either.
	CacheProbeAfter = time.Second

	// CacheProbe bounds a probe of the cache service, and of the store where the gateway must know which of them fails.
	CacheProbe = 500 * time.Millisecond

	// CacheFailures is how many failures in a row open the breaker of the cache service.
	CacheFailures = 3

	// CacheOpen is how long that breaker is open before one call tries the cache service.
	CacheOpen = time.Second
)

// Gateway to the health of all services behind it, for readiness.
const (
	// HealthInterval is the time from one round of health probes to the next. Load balancers check every few seconds, so
	// that they see a change with the next check.
	HealthInterval = time.Second

	// HealthProbe bounds a health probe, and so a round.
	HealthProbe = 2 * time.Second

	// HealthAttempts is how often a service that reports NOT_SERVING is probed in a round: a replica that is about to
	// stop reports that for itself, and the next probe may reach another one.
	HealthAttempts = 3
)

// Gateway and cache to store. This is the only link between services that retries: attempts multiply.
const (
	// StoreAttempts is how often a call that can be repeated is sent in all.
	StoreAttempts = 3

	// StoreBackoff is the wait before the second attempt, a fifth more or less. It doubles with each further one.
	StoreBackoff = 50 * time.Millisecond

	// StoreUnresponsive is how long a call must have waited in vain before it counts as a failure of the store. A caller
	// that gives up earlier shows nothing about the store.
	StoreUnresponsive = time.Second

	// StoreFailures is how many failures in a row open the breaker of the store: not while any of its replicas answers a
	// call.
	StoreFailures = 20

	// StoreOpen is how long that breaker is open before one call tries the store.
	StoreOpen = time.Second
)

// In the cache service.
const (
	// SharedRead bounds a read of the store for which several callers wait, none of which can cancel it.
	SharedRead = 5 * time.Second

	// Commit bounds a change at the store. It continues after its caller has given up: what the store has committed has to
	// reach the cache.
	Commit = Call
)

// Cache to Redis.
const (
	// RedisRead bounds one optional operation, the wait for a connection included. Redis answers within a millisecond or
	// two; one that needs longer than this is slower than the store that it should relieve.
	RedisRead = 250 * time.Millisecond

	// RedisWrite bounds an operation that makes a change visible. It is longer than RedisRead, because the caller has
	// been promised that no read sees the state before the change.
	RedisWrite = time.Second

	// RedisDial bounds a new connection. It may outlast the operation that asked for it: the next one finds it.
	RedisDial = time.Second

	// RedisFailures is how many failures in a row open the breaker of Redis. Each may have cost a read RedisRead.
	RedisFailures = 5

	// RedisOpen is how long that breaker is open before one operation tries Redis. It bounds what an outage costs, one
	// slow read in this time beside the writes, and how long it takes to notice its end.
	RedisOpen = time.Second
)

// In the store, and from the store to the database.
const (
	// HashQueue is the longest estimated wait for a password hash for which a call is queued if its client has others
	// waiting.
	HashQueue = 2 * time.Second

	// RecordFailure bounds the write of a failed log-in, which continues after its caller has given up. A store
	// that stops waits for it.
	RecordFailure = 8 * time.Second

	// DatabaseDial bounds a connection attempt to a database server: a host that is gone does not answer SYN packets.
	DatabaseDial = 5 * time.Second

	// DatabaseIO bounds one response of a database server. A statement takes milliseconds; only a server that hangs
	// needs longer, and a caller without a deadline must not hang with it.
	DatabaseIO = 10 * time.Second

	// DatabaseLock bounds the wait of a statement for a row. It is a multiple of a second. The default of 50 s is longer
	// than callers wait.
	DatabaseLock = 5 * time.Second

	// FileLock bounds the wait of a change for the lock of an SQLite file, if its caller has set no deadline.
	FileLock = 10 * time.Second

	// TransactionAttempts bounds how often a transaction that loses a race is run. A write locks one row, so that the
	// loser of a conflict mostly succeeds at the second attempt. Where nodes of a cluster change one row, each commit
	// makes all others lose; twelve attempts take about a second.
	TransactionAttempts = 12
)

package deadlines

import (
	"testing"
	"time"
)

func TestNesting(t *testing.T) {
	for _, test := range []struct {
		name         string
		inner, outer time.Duration
	}{
		{"headers_in_request", ReadHeaders, ReadRequest},
		{"slow_request_and_call_in_request", ReadRequest + Call, Request},
		{"slow_request_and_fallback_in_request", ReadRequest + CacheProbeAfter + CacheProbe + Call, Request},
		{"call_of_cache_and_then_of_store_in_request", Call + CacheProbe + Call, Request},
		{"call_in_drain", Call, Drain},

		{"probe_of_cache_in_call", CacheProbeAfter + CacheProbe, Call},
		{"shared_read_and_redis_in_call", RedisRead + SharedRead + RedisWrite, Call},
		{"change_is_not_cut_before_its_caller", Call, Commit},
		{"redis_dial_in_shared_read", RedisDial, SharedRead},

		{"reconnect_and_retries_in_shared_read", Reconnect + (1<<StoreAttempts)*StoreBackoff, SharedRead},
		{"a_call_can_show_that_the_store_hangs", StoreUnresponsive, SharedRead},
		{"an_unreachable_store_opens_its_breaker", StoreUnresponsive, Reconnect},

		{"hash_and_record_in_call", HashQueue + RecordFailure, Call},
		{"hash_and_lock_in_record", HashQueue + DatabaseLock, RecordFailure},
		{"record_in_drain", RecordFailure, Drain},
		{"lock_in_database_response", DatabaseLock, DatabaseIO},
		{"database_response_in_call", DatabaseIO, Call},
		{"database_dial_in_call", DatabaseDial, Call},
		{"file_lock_in_call", FileLock, Call},

		{"cache_is_tried_within_a_call", CacheOpen, Call},
		{"store_is_tried_within_a_call", StoreOpen, Call},
		{"redis_is_tried_within_a_call", RedisOpen, Call},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.inner > test.outer {
				t.Errorf("%v does not fit into %v", test.inner, test.outer)
			}
		})
	}
	if DatabaseLock%time.Second != 0 {
		t.Errorf("MySQL has lock waits of whole seconds, not %v", DatabaseLock)
	}
}

package redisbackend

import (
	"bytes"
	"testing"
	"time"
)

func TestMAC(t *testing.T) {
	secret, now := mac("secret"), time.UnixMilli(1_700_000_000_000)
	held := []byte("12345678 an entry")
	sealed := secret.append("key", held, stamp{position: 7, expires: now})
	t.Run("opens_until_the_entry_expires_for_clocks_that_are_10_s_apart", func(t *testing.T) {
		for after, want := range map[time.Duration]bool{
			-time.Hour: true, 0: true, clockSkew: true, clockSkew + time.Millisecond: false, time.Hour: false,
		} {
			got, position := secret.verify("key", sealed, now.Add(after))
			if opened := bytes.Equal(got, held) && position == 7; opened != want || got != nil != want {
				t.Errorf("%v after its end: %q at %d", after, got, position)
			}
		}
	})
	t.Run("breaks_when_any_byte_is_changed", func(t *testing.T) {
		for i := range sealed {
			changed := bytes.Clone(sealed)
			changed[i] ^= 1
			if got, _ := secret.verify("key", changed, now); got != nil {
				t.Errorf("byte %d can be changed", i)
			}
			if got, _ := secret.verify("key", sealed[:i], now); got != nil {
				t.Errorf("it can be cut off after %d bytes", i)
			}
		}
		if got, _ := secret.verify("another", sealed, now); got != nil {
			t.Error("it can be copied to another key")
		}
	})
}

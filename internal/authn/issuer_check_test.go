package authn_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
)

// reportingStore is a connection to a store that reports settings beside its keys.
type reportingStore struct {
	grpc.ClientConnInterface

	header metadata.MD
	err    error
}

func (s *reportingStore) Invoke(_ context.Context, _ string, _, _ any, options ...grpc.CallOption) error {
	for _, option := range options {
		if header, ok := option.(grpc.HeaderCallOption); ok {
			*header.HeaderAddr = s.header
		}
	}
	return s.err
}

// checkEnv is a check, and the store that it fetches keys from.
type checkEnv struct {
	check *authn.IssuerCheck
	store *reportingStore
	clock *clock
	log   bytes.Buffer
	fetch authn.FetchKeys
}

func newCheckEnv() *checkEnv {
	e := &checkEnv{store: &reportingStore{}, clock: newClock()}
	e.check = authn.NewIssuerCheck(issuer, audience, e.clock.Now, slog.New(slog.NewJSONHandler(&e.log, nil)))
	e.fetch = e.check.FetchKeys(e.store)
	return e
}

// report makes the service fetch the keys once, beside settings that change makes of good ones.
func (e *checkEnv) report(t *testing.T, change func(*authn.IssuerSettings)) {
	t.Helper()
	settings := authn.IssuerSettings{
		Issuer: issuer, Audience: audience, Now: e.clock.Now(), Lifetime: 15 * time.Minute,
	}
	if change != nil {
		change(&settings)
	}
	e.store.header = settings.Metadata()
	if _, err := e.fetch(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func clockOff(by time.Duration) func(*authn.IssuerSettings) {
	return func(s *authn.IssuerSettings) { s.Now = s.Now.Add(by) }
}

func anotherIssuer(s *authn.IssuerSettings) { s.Issuer = "https://other.example.com" }

func TestIssuerCheck(t *testing.T) {
	for _, test := range []struct {
		name     string
		change   func(*authn.IssuerSettings)
		names    []string // settings that are reported
		notReady bool
	}{
		{"same_settings", nil, nil, false},
		{"another_issuer", anotherIssuer, []string{"issuer"}, true},
		{"another_audience", func(s *authn.IssuerSettings) { s.Audience = "ünlike" }, []string{"audience"}, true},
		{"both", func(s *authn.IssuerSettings) { s.Issuer, s.Audience = "a", "b" }, []string{"issuer", "audience"}, true},
		{"database_clock_20_minutes_behind", clockOff(-20 * time.Minute), []string{"clock"}, true},
		{"database_clock_11_minutes_ahead", clockOff(11 * time.Minute), []string{"clock"}, true},
		{"database_clock_5_minutes_behind", clockOff(-5 * time.Minute), []string{"clock"}, false},
		{"database_clock_5_minutes_ahead", clockOff(5 * time.Minute), []string{"clock"}, false},
		{"clocks_that_are_synchronized_roughly", clockOff(time.Minute), nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := newCheckEnv()
			e.report(t, test.change)
			e.wantReported(t, test.names, test.notReady)
			for _, name := range test.names {
				if !strings.Contains(e.log.String(), `"msg":"settings disagree with the store","setting":"`+name+`"`) {
					t.Errorf("the log does not name the %s: %s", name, &e.log)
				}
			}
			if len(test.names) == 0 && e.log.Len() > 0 {
				t.Errorf("the log has %s", &e.log)
			}
			e.heal(t)
		})
	}
	t.Run("service_token_that_the_store_rejects", func(t *testing.T) {
		e := newCheckEnv()
		e.store.err = authn.ErrServiceCredentialRefused
		if _, err := e.fetch(t.Context()); err == nil {
			t.Fatal("the keys were fetched")
		}
		e.wantReported(t, []string{"service token"}, true)
		e.store.err = nil
		e.heal(t)
	})
	t.Run("store_that_is_away_or_older_reports_nothing", func(t *testing.T) {
		e := newCheckEnv()
		_, _ = e.fetch(t.Context())
		e.store.err = errors.New("away")
		_, _ = e.fetch(t.Context())
		e.wantReported(t, nil, false)
	})
	t.Run("one_store_of_two_disagrees", func(t *testing.T) {
		e := newCheckEnv()
		for range 20 {
			e.report(t, nil)
			e.clock.pass(5 * time.Second)
			e.report(t, anotherIssuer)
			e.clock.pass(5 * time.Second)
			e.wantReported(t, []string{"issuer"}, false)
		}
	})
	t.Run("all_stores_disagree_after_they_agreed", func(t *testing.T) {
		e := newCheckEnv()
		e.report(t, nil)
		for range 5 {
			e.clock.pass(5 * time.Second)
			e.report(t, anotherIssuer)
		}
		e.wantReported(t, []string{"issuer"}, true)
	})
	t.Run("log_has_one_line_a_minute", func(t *testing.T) {
		e := newCheckEnv()
		for range 25 { // Two minutes.
			e.report(t, anotherIssuer)
			e.clock.pass(5 * time.Second)
		}
		if lines := strings.Count(e.log.String(), "\n"); lines != 3 {
			t.Errorf("in two minutes the log has %d lines", lines)
		}
	})
}

func (e *checkEnv) wantReported(t *testing.T, names []string, notReady bool) {
	t.Helper()
	texts := e.check.Disagreements()
	var got []string
	for _, text := range texts {
		name, _, _ := strings.Cut(text, ":")
		got = append(got, name)
	}
	if !slices.Equal(got, names) {
		t.Errorf("reported are %q, want %q", texts, names)
	}
	if err := e.check.Err(); (err != nil) != notReady {
		t.Errorf("Err is %v, want an error: %t", err, notReady)
	}
}

// heal makes the store agree: the service is ready at once, and nothing is reported soon after.
func (e *checkEnv) heal(t *testing.T) {
	t.Helper()
	e.report(t, nil)
	if err := e.check.Err(); err != nil {
		t.Errorf("once the store agrees: %v", err)
	}
	e.clock.pass(30 * time.Second)
	e.report(t, nil)
	e.wantReported(t, nil, false)
}

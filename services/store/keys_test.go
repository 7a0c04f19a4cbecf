package store

import (
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/gatehouse-auth/gatehouse/internal/authn"
	"github.com/gatehouse-auth/gatehouse/internal/grpcx"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// TestListKeys checks what the store reports to other services beside its keys, by the clock that it issues tokens by.
func TestListKeys(t *testing.T) {
	clock := newClock()
	config := testConfig(sqliteDatabase(t), clock)
	store := startStore(t, config)
	t.Run("reports_settings_to_services", func(t *testing.T) {
		var header metadata.MD
		if _, err := store.keys.ListKeys(t.Context(), &gatehousev1.ListKeysRequest{}, grpc.Header(&header)); err != nil {
			t.Fatal(err)
		}
		want := authn.IssuerSettings{
			Issuer: config.Issuer, Audience: config.Audience, Now: clock.now(), Lifetime: 15 * time.Minute,
		}
		for key, values := range want.Metadata() {
			if got := header.Get(key); len(got) != 1 || got[0] != values[0] {
				t.Errorf("%s is %q, want %q", key, got, values)
			}
		}
	})
	t.Run("rejects_another_service_token_as_such", func(t *testing.T) {
		conn, err := grpcx.Dial("passthrough:///in-process",
			authn.ServiceCredential{Role: authn.PeerGateway, Token: config.ServiceToken + "2"},
			grpcx.InProcess(store.listener))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		check := authn.NewIssuerCheck(config.Issuer, config.Audience, clock.now, store.service.log)
		_, err = check.FetchKeys(conn)(t.Context())
		if err == nil {
			t.Fatal("the keys were fetched")
		}
		if check.Err() == nil {
			t.Errorf("the refusal is not noticed: %v", err)
		}
		if _, err := store.keys.ListKeys(t.Context(), &gatehousev1.ListKeysRequest{}); err != nil {
			t.Errorf("a service with the right token: %v", err)
		}
	})
}

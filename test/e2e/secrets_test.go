package e2e

import (
	"net/http"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	gatehousev1 "github.com/gatehouse-auth/gatehouse/gen/gatehouse/v1"
)

// holdsNoSecret looks for passwords, hashes and tokens where none may be: in Redis and in every log.
func (env *testEnv) holdsNoSecret(t *testing.T, r *fixtures) {
	t.Helper()
	r.t = t
	env.strayTokens(t, strings.TrimPrefix(r.tokens["ada"][0], "Bearer "))
	secrets := append(passwordsOfCorpus(r), "$argon2", "ghrt_", strings.TrimPrefix(r.tokens["ada"][0], "Bearer "),
		"x-gatehouse-service-credential")
	for _, process := range env.processes {
		for _, variable := range process.Env {
			if token, found := strings.CutPrefix(variable, "GATEHOUSE_SERVICE_TOKEN="); found {
				secrets = append(secrets, token)
			}
		}
	}
	for _, process := range env.processes {
		output := process.Output()
		if !strings.Contains(output, "UserService/CreateUser") && !strings.Contains(output, "/v1/users") {
			t.Errorf("the log of %s does not tell of a single sign-up: the search below would find nothing", process.Args[0])
		}
		for _, secret := range secrets {
			if strings.Contains(output, secret) {
				t.Errorf("the log of %s holds %q", process.Args[0], secret)
			}
		}
	}
	if env.redis == nil {
		return
	}
	entries := env.redisEntries(t)
	if len(entries) == 0 {
		t.Error("Redis is empty: the search below would find nothing")
	}
	for key, value := range entries {
		for _, secret := range secrets {
			if strings.Contains(key, secret) || strings.Contains(value, secret) {
				t.Errorf("%s in Redis holds %q", key, secret)
			}
		}
	}
	env.checkHashes(t, "m=7168,t=1,p=1")
}

// strayTokens sends tokens where none belongs, as a client does by mistake.
func (env *testEnv) strayTokens(t *testing.T, access string) {
	t.Helper()
	for _, token := range []string{access, "ghrt_AZcOLHoQe16MQw1vGp4rVAAAAAAAAAABYSBNQUMgb2YgdGhpcnR5LXR3byBieXRlcywgbm8uMS4"} {
		for _, path := range []string{"/" + token, "/v1/users/" + token, "/v1/users?" + token + "=" + token, "/docs/" + token} {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, env.rest+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			request.Header = http.Header{
				"Authorization": {"Bearer " + access}, "X-Request-Id": {token}, "User-Agent": {token}, "Referer": {token},
			}
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
		}
		ctx := metadata.AppendToOutgoingContext(t.Context(), "x-request-id", token, "authorization", "Bearer "+token)
		_ = env.conn.Invoke(ctx, "/gatehouse.v1.UserService/"+token, &gatehousev1.ReadUserRequest{}, &gatehousev1.ReadUserResponse{})
		_, _ = gatehousev1.NewUserServiceClient(env.conn).ReadUser(ctx, &gatehousev1.ReadUserRequest{Id: token})
	}
}

// passwordsOfCorpus are those that are long and odd enough not to stand in a log for another reason.
func passwordsOfCorpus(r *fixtures) []string {
	passwords := []string{adasPassword, newPassword}
	for _, test := range corpus {
		if test.method != "UserService/CreateUser" {
			continue // Requests of other cases open sessions.
		}
		if request, ok := test.request(r).(*gatehousev1.CreateUserRequest); ok && len(request.GetPassword()) >= 12 {
			passwords = append(passwords, request.GetPassword())
		}
	}
	return passwords
}

func (env *testEnv) redisEntries(t *testing.T) map[string]string {
	t.Helper()
	client := env.redis.Client()
	defer client.Close()
	entries := map[string]string{}
	keys := client.Scan(t.Context(), 0, "*", 1000).Iterator()
	for keys.Next(t.Context()) {
		value, err := client.Dump(t.Context(), keys.Val()).Result()
		if err != nil {
			t.Fatal(err)
		}
		entries[keys.Val()] = value
	}
	if err := keys.Err(); err != nil {
		t.Fatal(err)
	}
	return entries
}

// checkHashes checks that the database stores a hash with these parameters for each password.
func (env *testEnv) checkHashes(t *testing.T, parameters string) {
	t.Helper()
	db, err := env.mariadb.Open(env.infra.Database)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var all, hashed int
	row := db.QueryRow("SELECT COUNT(*), COUNT(CASE WHEN password_hash LIKE ? THEN 1 END) FROM credentials",
		"$argon2id$v=19$"+parameters+"$%")
	if err := row.Scan(&all, &hashed); err != nil {
		t.Fatal(err)
	}
	if all == 0 || all != hashed {
		t.Errorf("%d of %d password hashes have the parameters %s", hashed, all, parameters)
	}
}

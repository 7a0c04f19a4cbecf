package storage

import (
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	t.Run("accepts_good_configurations", testValidateAcceptsGoodConfigurations)
	t.Run("reports_all_errors", testValidateReportsAllErrors)
}

func testValidateAcceptsGoodConfigurations(t *testing.T) {
	for _, config := range []Config{
		{URL: "mysql://root@127.0.0.1:3306/gatehouse"},
		{URL: "mysql://root@localhost/gatehouse", Password: "secret"},
		{URL: "mysql://gate%40house@[::1]:3307/gatehouse?tls=true"},
		{URL: "mysql://u@db.example.com/gatehouse?tls=skip-verify"},
		{URL: "mysql://u@db.example.com/gatehouse?tls=preferred"},
		{URL: "mysql://u@one:3306,two,[::1]:3307/gatehouse?tls=true"},
		{URL: "sqlite:gatehouse.db"},
		{URL: "sqlite:/var/lib/gate house/100%.db"},
	} {
		if err := config.Validate(); err != nil {
			t.Errorf("%s: %v", config.URL, err)
		}
	}
}

func testValidateReportsAllErrors(t *testing.T) {
	for _, test := range []struct {
		config Config
		faults []string
	}{
		{Config{}, []string{"or sqlite:PATH"}},
		{Config{URL: "postgres://hunter2@localhost/x"}, []string{"or sqlite:PATH"}},
		{Config{URL: "root:hunter2@tcp(localhost:3306)/x"}, []string{"or sqlite:PATH"}},
		{Config{URL: "mysql:root@localhost/x"}, []string{"must be mysql://user@host:port/database"}},
		{Config{URL: "mysql://root:hunter2@localhost/x"}, []string{"must not hold the password"}},
		{Config{URL: "mysql://root:@localhost/x"}, []string{"must not hold the password"}},
		{Config{URL: "mysql://root:hunter2/@localhost/x"}, []string{"a password does not belong in it"}},
		{Config{URL: "mysql://root:%hunter2@localhost/x"}, []string{"a password does not belong in it"}},
		{Config{URL: "mysql://"}, []string{"names no user", "names no host", "must name one database"}},
		{Config{URL: "mysql://localhost:3306/x"}, []string{"names no user"}},
		{Config{URL: "mysql://root@:3306/x"}, []string{"names no host"}},
		{Config{URL: "mysql://root@localhost:0/x"}, []string{"between 1 and 65535"}},
		{Config{URL: "mysql://root@localhost:65536/x"}, []string{"between 1 and 65535"}},
		{Config{URL: "mysql://root@one,,two/x"}, []string{"names no host"}},
		{Config{URL: "mysql://root@one,two:0/x"}, []string{"between 1 and 65535"}},
		{Config{URL: "mysql://root:hunter2@one,two/x"}, []string{"must not hold the password"}},
		{Config{URL: "mysql://root@localhost"}, []string{"must name one database"}},
		{Config{URL: "mysql://root@localhost/x/y"}, []string{"must name one database"}},
		{Config{URL: "mysql://root@localhost/x?tls=maybe"}, []string{"tls must be true, skip-verify or preferred"}},
		{Config{URL: "mysql://root@localhost/x?password=hunter2"}, []string{`not "password"`}},
		{Config{URL: "mysql://root@localhost/x?%zz"}, []string{"parameters of the database URL cannot be read"}},
		{Config{URL: "mysql://root@localhost/x#hunter2"}, []string{"nothing after a #"}},
		{
			Config{URL: "mysql://root:hunter2@localhost:99999/?charset=latin1"},
			[]string{"must not hold the password", "between 1 and 65535", "must name one database", `not "charset"`},
		},
		{Config{URL: "sqlite:"}, []string{"names no file"}},
		{Config{URL: "sqlite::memory:"}, []string{"must be a file"}},
		{Config{URL: "sqlite://data/x.db"}, []string{"without slashes"}},
		{Config{URL: "sqlite:x.db?mode=memory"}, []string{"there are no parameters"}},
		{Config{URL: "sqlite:x.db", Password: "hunter2"}, []string{"not encrypted"}},
	} {
		err := test.config.Validate()
		if err == nil {
			t.Errorf("%q is taken", test.config.URL)
			continue
		}
		for _, fault := range test.faults {
			if !strings.Contains(err.Error(), fault) {
				t.Errorf("%q: error is %q, want %q", test.config.URL, err, fault)
			}
		}
		if faults := strings.Count(err.Error(), "\n") + 1; faults != len(test.faults) {
			t.Errorf("%q: %d faults, not %d: %v", test.config.URL, faults, len(test.faults), err)
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error quotes the password: %v", test.config.URL, err)
		}
	}
}

package storage

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

const (
	mysqlScheme  = "mysql"
	sqliteScheme = "sqlite"

	defaultMySQLPort = "3306"
)

// Config says where the database is.
type Config struct {
	// URL is mysql://user@host:port/database, with ?tls=true, skip-verify or preferred if wanted, or sqlite:PATH. Nodes of
	// one cluster may stand with commas between: user@host:port,host:port. The first that can be had is used.
	// MariaDB is mysql too. Without a tls parameter the connection is in clear; "preferred" and "skip-verify" do not
	// check who answers.
	URL string
	// Password of the user of a MySQL database.
	Password string
}

// Validate tells every fault of the configuration. No error quotes the URL or the password.
func (c Config) Validate() error {
	_, err := c.dialect()
	return err
}

func (c Config) dialect() (dialect, error) {
	scheme, rest, _ := strings.Cut(c.URL, ":")
	switch scheme {
	case mysqlScheme:
		return c.mysql()
	case sqliteScheme:
		return c.sqlite(rest)
	default:
		return nil, errors.New("the database URL must be mysql://user@host:port/database or sqlite:PATH")
	}
}

// mysql reads the URL of each host, which all share but the host.
func (c Config) mysql() (*mysqlDialect, error) {
	before, hosts, after := c.hosts()
	var all *mysqlDialect
	for host := range strings.SplitSeq(hosts, ",") {
		one, err := c.mysqlOf(before + host + after)
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = one
		} else {
			all.addresses = append(all.addresses, one.addresses...)
		}
	}
	return all, nil
}

// hosts cuts the hosts out of the URL.
func (c Config) hosts() (before, hosts, after string) {
	start := strings.Index(c.URL, "://") + len("://")
	if start < len("://") {
		return c.URL, "", ""
	}
	end := len(c.URL)
	if slash := strings.IndexAny(c.URL[start:], "/?#"); slash >= 0 {
		end = start + slash
	}
	start += strings.LastIndex(c.URL[start:end], "@") + 1
	return c.URL[:start], c.URL[start:end], c.URL[end:]
}

func (c Config) mysqlOf(text string) (*mysqlDialect, error) {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Opaque != "" {
		// Without the parser's words: they quote the URL, and what does not parse is often a password.
		return nil, errors.New("the database URL must be mysql://user@host:port/database; " +
			"a password does not belong in it, and special characters must be percent-encoded")
	}
	d := &mysqlDialect{
		user:     parsed.User.Username(),
		password: c.Password,
		database: strings.TrimPrefix(parsed.Path, "/"),
		tls:      parsed.Query().Get("tls"),
	}
	port := parsed.Port()
	if port == "" {
		port = defaultMySQLPort
	}
	d.addresses = []string{net.JoinHostPort(parsed.Hostname(), port)}

	faults := mysqlParameterFaults(parsed)
	if _, ok := parsed.User.Password(); ok {
		faults = append(faults, errors.New("the database URL must not hold the password: "+
			"process lists and logs would show it; give it apart"))
	}
	if d.user == "" {
		faults = append(faults, errors.New("the database URL names no user: mysql://user@…"))
	}
	if parsed.Hostname() == "" {
		faults = append(faults, errors.New("the database URL names no host"))
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		faults = append(faults, errors.New("the port of the database URL must be between 1 and 65535"))
	}
	if d.database == "" || strings.Contains(d.database, "/") {
		faults = append(faults, errors.New("the database URL must name one database after the host: …/database"))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return d, nil
}

func mysqlParameterFaults(parsed *url.URL) []error {
	var faults []error
	parameters, err := url.ParseQuery(parsed.RawQuery)
	if err != nil {
		faults = append(faults, errors.New("the parameters of the database URL cannot be read"))
	}
	for name := range parameters {
		if name != "tls" {
			faults = append(faults, fmt.Errorf("the database URL takes the parameter tls only, not %q", name))
		}
	}
	switch parameters.Get("tls") {
	case "", "true", "skip-verify", "preferred":
	default:
		faults = append(faults, errors.New("tls must be true, skip-verify or preferred"))
	}
	if parsed.Fragment != "" {
		faults = append(faults, errors.New("the database URL takes nothing after a #"))
	}
	return faults
}

func (c Config) sqlite(path string) (*sqliteDialect, error) {
	var faults []error
	switch {
	case path == "":
		faults = append(faults, errors.New("the database URL names no file: sqlite:PATH"))
	case path == ":memory:":
		faults = append(faults, errors.New("the database must be a file: what is in memory is lost"))
	case strings.HasPrefix(path, "//"):
		faults = append(faults, errors.New("the database URL is sqlite:PATH, without slashes before the path"))
	case strings.ContainsAny(path, "?\x00"):
		faults = append(faults, errors.New("the path of the database must not hold a ? or NUL; there are no parameters"))
	}
	if c.Password != "" {
		faults = append(faults, errors.New("an SQLite file has no password: it is not encrypted"))
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return &sqliteDialect{path: path}, nil
}

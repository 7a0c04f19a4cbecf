package mysql

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

const defaultPort = "3306"

// New parses the URL of a database: mysql://user@host:port/database?tls=…, perhaps with several hosts. It reports all
// errors of the URL, and quotes neither the URL nor the password.
func New(databaseURL, password string) (*Dialect, error) {
	before, hosts, after := cutHosts(databaseURL)
	var all *Dialect
	for host := range strings.SplitSeq(hosts, ",") { // Go's parser accepts one host.
		one, err := parse(before + host + after)
		if err != nil {
			return nil, err
		}
		if all == nil {
			all = one
		} else {
			all.addresses = append(all.addresses, one.addresses...)
		}
	}
	all.password = password
	return all, nil
}

// cutHosts splits a URL around its hosts.
func cutHosts(databaseURL string) (before, hosts, after string) {
	start := strings.Index(databaseURL, "://") + len("://")
	if start < len("://") {
		return databaseURL, "", ""
	}
	end := len(databaseURL)
	if slash := strings.IndexAny(databaseURL[start:], "/?#"); slash >= 0 {
		end = start + slash
	}
	start += strings.LastIndex(databaseURL[start:end], "@") + 1
	return databaseURL[:start], databaseURL[start:end], databaseURL[end:]
}

// parse parses the URL of a database with one host.
func parse(text string) (*Dialect, error) {
	parsed, err := url.Parse(text)
	if err != nil || parsed.Opaque != "" {
		// Without the parser's error, which quotes the URL: what does not parse is often a password.
		return nil, errors.New("the database URL must be mysql://user@host:port/database; " +
			"a password does not belong in it, and special characters must be percent-encoded")
	}
	port := parsed.Port()
	if port == "" {
		port = defaultPort
	}
	d := &Dialect{
		user:      parsed.User.Username(),
		addresses: []string{net.JoinHostPort(parsed.Hostname(), port)},
		database:  strings.TrimPrefix(parsed.Path, "/"),
		tls:       parsed.Query().Get("tls"),
	}
	errs := parameterErrors(parsed)
	if _, ok := parsed.User.Password(); ok {
		errs = append(errs, errors.New("the database URL must not hold the password: "+
			"process lists and logs would show it; give it apart"))
	}
	if d.user == "" {
		errs = append(errs, errors.New("the database URL names no user: mysql://user@…"))
	}
	if parsed.Hostname() == "" {
		errs = append(errs, errors.New("the database URL names no host"))
	}
	if number, err := strconv.ParseUint(port, 10, 16); err != nil || number == 0 {
		errs = append(errs, errors.New("the port of the database URL must be between 1 and 65535"))
	}
	if d.database == "" || strings.Contains(d.database, "/") {
		errs = append(errs, errors.New("the database URL must name one database after the host: …/database"))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return d, nil
}

func parameterErrors(parsed *url.URL) []error {
	var errs []error
	parameters, err := url.ParseQuery(parsed.RawQuery)
	if err != nil {
		errs = append(errs, errors.New("the parameters of the database URL cannot be read"))
	}
	for name := range parameters {
		if name != "tls" {
			errs = append(errs, fmt.Errorf("the database URL takes the parameter tls only, not %q", name))
		}
	}
	switch parameters.Get("tls") {
	case "", "true", "skip-verify", "preferred":
	default:
		errs = append(errs, errors.New("tls must be true, skip-verify or preferred"))
	}
	if parsed.Fragment != "" {
		errs = append(errs, errors.New("the database URL takes nothing after a #"))
	}
	return errs
}

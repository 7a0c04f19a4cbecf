package redisbackend

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// Where a Redis and a Sentinel listen unless told otherwise.
const (
	defaultPort         = "6379"
	defaultSentinelPort = "26379"
)

// errForm is what every unreadable URL answers. The URL is not quoted, and neither is the parser's error, which would
// quote it: a URL that should hold no password may hold one all the same.
var errForm = errors.New("the Redis URL must have the form redis://host:port[/database], " +
	"redis+sentinel://master@host:port,host:port[/database] with the addresses of Sentinels, " +
	"or redis+cluster://host:port,host:port; rediss instead of redis is for TLS")

// kind is what a Location leads to.
type kind int

const (
	oneServer kind = iota
	sentinels
	redisCluster
)

// Location is where a Redis is and how to reach it.
type Location struct {
	kind      kind
	addresses []string // HOST:PORT: of the one server, of Sentinels, or of some nodes of a cluster
	master    string   // what the Sentinels call it
	database  int
	tls       bool
	user      string // of the Redis, not of Sentinels; "" for the default user
}

// SetUser sets the user of an ACL as whom the Redis is used. Sentinels, which have users of their own, are used as the
// default user.
func (l *Location) SetUser(name string) { l.user = name }

// ParseURL reads a URL of one of the forms that errForm names. It refuses a password: URLs end up in process lists and
// logs. Its errors never quote the URL.
func ParseURL(text string) (Location, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found || strings.ContainsAny(rest, "?#") {
		return Location{}, errForm
	}
	protocol, form, _ := strings.Cut(scheme, "+")
	l := Location{tls: protocol == "rediss"}
	port := defaultPort
	switch form {
	case "":
	case "sentinel":
		l.kind, port = sentinels, defaultSentinelPort
	case "cluster":
		l.kind = redisCluster
	default:
		return Location{}, errForm
	}
	if !l.tls && protocol != "redis" || strings.HasSuffix(scheme, "+") {
		return Location{}, errForm
	}
	authority, path, _ := strings.Cut(rest, "/")
	hosts, err := l.named(authority)
	if err != nil {
		return Location{}, err
	}
	if l.addresses, err = addressesOf(hosts, port); err != nil {
		return Location{}, err
	}
	if l.kind == oneServer && len(l.addresses) > 1 {
		return Location{}, errForm
	}
	if l.database, err = databaseOf(path); err != nil {
		return Location{}, err
	}
	if l.kind == redisCluster && l.database != 0 {
		return Location{}, errors.New("the Redis URL of a cluster must name no database: a cluster has but one")
	}
	return l, nil
}

// named takes the name of the master from before the hosts, where there has to be one.
func (l *Location) named(authority string) (hosts string, err error) {
	at := strings.LastIndex(authority, "@")
	name, hosts := authority[:max(0, at)], authority[at+1:]
	switch {
	case l.kind == sentinels && at > 0 && !strings.ContainsAny(name, ":%"):
		l.master = name
	case l.kind == sentinels && at <= 0:
		return "", errors.New("the Redis URL must say what the Sentinels call the master: redis+sentinel://master@host:port")
	case at >= 0:
		return "", errors.New("the Redis URL must not hold credentials: give user and password by their own settings")
	}
	return hosts, nil
}

func addressesOf(hosts, port string) ([]string, error) {
	addresses := make([]string, 0, 1)
	for host := range strings.SplitSeq(hosts, ",") {
		parsed, err := url.Parse("redis://" + host)
		if err != nil || parsed.Hostname() == "" || parsed.Host != host {
			return nil, errForm
		}
		given := parsed.Port()
		if given == "" {
			given = port
		}
		addresses = append(addresses, net.JoinHostPort(parsed.Hostname(), given))
	}
	return addresses, nil
}

func databaseOf(path string) (int, error) {
	if path == "" {
		return 0, nil
	}
	number, err := strconv.ParseUint(path, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("the database of the Redis URL must be a number: %w", errForm)
	}
	return int(number), nil
}

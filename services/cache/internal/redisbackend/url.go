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

// errForm is the error of every malformed URL. It quotes neither the URL nor the parser's error, which contains the
// URL: the URL may hold a password although it must not.
var errForm = errors.New("the Redis URL must have the form redis://host:port[/database], " +
	"redis+sentinel://master@host:port,host:port[/database] with the addresses of Sentinels, " +
	"or redis+cluster://host:port,host:port; rediss instead of redis is for TLS")

// kind is the topology at a Location.
type kind int

const (
	kindSingle kind = iota
	kindSentinel
	kindCluster
)

// Location is where a Redis is and how to reach it.
type Location struct {
	kind      kind
	addresses []string // HOST:PORT of the single server, of Sentinels, or of some nodes of a cluster
	master    string   // its name for the Sentinels
	database  int
	tls       bool
	user      string // of the Redis, not of Sentinels; "" for the default user
}

// SetUser sets the ACL user for the Redis. Sentinels have users of their own: there, the default user is used.
func (l *Location) SetUser(name string) { l.user = name }

// ParseURL parses a URL of one of the forms that errForm names. It rejects a password: URLs end up in process lists and
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
		l.kind, port = kindSentinel, defaultSentinelPort
	case "cluster":
		l.kind = kindCluster
	default:
		return Location{}, errForm
	}
	if !l.tls && protocol != "redis" || strings.HasSuffix(scheme, "+") {
		return Location{}, errForm
	}
	authority, path, _ := strings.Cut(rest, "/")
	hosts, err := l.cutMaster(authority)
	if err != nil {
		return Location{}, err
	}
	if l.addresses, err = parseAddresses(hosts, port); err != nil {
		return Location{}, err
	}
	if l.kind == kindSingle && len(l.addresses) > 1 {
		return Location{}, errForm
	}
	if l.database, err = parseDatabase(path); err != nil {
		return Location{}, err
	}
	if l.kind == kindCluster && l.database != 0 {
		return Location{}, errors.New("the Redis URL of a cluster must name no database: a cluster has but one")
	}
	return l, nil
}

// cutMaster returns the hosts, and stores the name of the master before them if there must be one.
func (l *Location) cutMaster(authority string) (hosts string, err error) {
	at := strings.LastIndex(authority, "@")
	name, hosts := authority[:max(0, at)], authority[at+1:]
	switch {
	case l.kind == kindSentinel && at > 0 && !strings.ContainsAny(name, ":%"):
		l.master = name
	case l.kind == kindSentinel && at <= 0:
		return "", errors.New("the Redis URL must say what the Sentinels call the master: redis+sentinel://master@host:port")
	case at >= 0:
		return "", errors.New("the Redis URL must not hold credentials: give user and password by their own settings")
	}
	return hosts, nil
}

func parseAddresses(hosts, port string) ([]string, error) {
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

func parseDatabase(path string) (int, error) {
	if path == "" {
		return 0, nil
	}
	number, err := strconv.ParseUint(path, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("the database of the Redis URL must be a number: %w", errForm)
	}
	return int(number), nil
}

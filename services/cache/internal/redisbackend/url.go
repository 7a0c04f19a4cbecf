package redisbackend

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
)

// defaultPort is where a Redis listens unless told otherwise.
const defaultPort = "6379"

// errForm is what every unreadable URL answers. The URL is not quoted, and neither is the parser's error, which would
// quote it: a URL that should hold no password may hold one all the same.
var errForm = errors.New("the Redis URL must have the form redis://host:port[/database], or rediss:// for TLS")

// Location is where a Redis is and how to reach it.
type Location struct {
	Host     string
	Port     string
	Database int
	TLS      bool
}

// Address is the host and port to dial.
func (l Location) Address() string { return net.JoinHostPort(l.Host, l.Port) }

// ParseURL reads a URL of the form redis://host:port[/database], or rediss:// for TLS. It refuses a password: URLs end
// up in process lists and logs. Its errors never quote the URL.
func ParseURL(text string) (Location, error) {
	parsed, err := url.Parse(text)
	if err != nil {
		return Location{}, errForm
	}
	if parsed.User != nil {
		return Location{}, errors.New("the Redis URL must not hold credentials: give the password by its own setting")
	}
	known := parsed.Scheme == "redis" || parsed.Scheme == "rediss"
	if !known || parsed.Hostname() == "" || parsed.RawQuery != "" || parsed.Fragment != "" {
		return Location{}, errForm
	}
	location := Location{Host: parsed.Hostname(), Port: parsed.Port(), TLS: parsed.Scheme == "rediss"}
	if location.Port == "" {
		location.Port = defaultPort
	}
	if location.Database, err = database(parsed.Path); err != nil {
		return Location{}, err
	}
	return location, nil
}

func database(path string) (int, error) {
	path = strings.TrimPrefix(path, "/")
	if path == "" {
		return 0, nil
	}
	number, err := strconv.ParseUint(path, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("the database of the Redis URL must be a number: %w", errForm)
	}
	return int(number), nil
}

package testkit

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Nginx is a reverse proxy, such as operators run before a gateway.
type Nginx struct {
	Process

	port ownPort
}

// nginxConf is the configuration around a server. One process does everything, under the user of the test.
const nginxConf = `daemon off;
master_process off;
pid %[1]s/pid;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s;
%[3]s
	}
}
`

// StartNginx runs nginx until the test ends. The directives are those of its only server.
func StartNginx(tb testing.TB, directives string) *Nginx {
	tb.Helper()
	dir := shortDir(tb)
	program, err := FindProgram("nginx")
	if err != nil {
		tb.Fatal(err)
	}
	port, err := newOwnPort()
	if err != nil {
		tb.Fatal(err)
	}
	conf := filepath.Join(dir, "nginx.conf")
	n := &Nginx{port: port, Process: Process{
		Path: program, Args: []string{"-p", dir, "-e", "stderr", "-c", conf}, Log: filepath.Join(dir, "log"),
	}}
	err = n.port.use(func(port int) error {
		if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, loopback(port), directives), 0o600); err != nil {
			return err
		}
		return n.Start(Listening(loopback(port)))
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(n.Kill)
	return n
}

// URL is the base URL of the server.
func (n *Nginx) URL() string { return "http://" + loopback(n.port.number) }

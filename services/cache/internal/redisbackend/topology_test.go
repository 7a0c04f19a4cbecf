package redisbackend

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/gatehouse-auth/gatehouse/internal/testkit"
	"github.com/gatehouse-auth/gatehouse/services/cache/internal/minrank"
)

// fakeServer serves commands in RESP until the test ends, and returns its address. An empty answer is an error.
func fakeServer(t *testing.T, answer func(command string) string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			context.AfterFunc(t.Context(), func() { _ = conn.Close() })
			serving.Go(func() { serveRESP(conn, answer) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		serving.Wait()
	})
	return listener.Addr().String()
}

func serveRESP(conn net.Conn, answer func(command string) string) {
	defer conn.Close()
	reader := bufio.NewReader(conn)
	number := func() int {
		line, err := reader.ReadString('\n')
		n, convErr := strconv.Atoi(strings.TrimSpace(strings.TrimLeft(line, "*$")))
		if err != nil || convErr != nil {
			return -1
		}
		return n
	}
	for {
		count := number()
		if count < 0 {
			return
		}
		words := make([]string, count)
		for i := range words {
			word := make([]byte, max(0, number())+2) // with CRLF
			if _, err := io.ReadFull(reader, word); err != nil {
				return
			}
			words[i] = strings.TrimSpace(string(word))
		}
		reply := answer(strings.ToUpper(strings.Join(words, " ")))
		if reply == "" {
			reply = "-ERR unknown command\r\n"
		}
		if _, err := io.WriteString(conn, reply); err != nil {
			return
		}
	}
}

// bulk encodes strings as an array, or one as a bulk string.
func bulk(texts ...string) string {
	encoded := ""
	for _, text := range texts {
		encoded += fmt.Sprintf("$%d\r\n%s\r\n", len(text), text)
	}
	if len(texts) == 1 {
		return encoded
	}
	return fmt.Sprintf("*%d\r\n%s", len(texts), encoded)
}

func newShared(t *testing.T, url string) *shared {
	t.Helper()
	location, err := ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	return &shared{location: location, mac: mac("secret"), minRanks: minrank.New(1), now: time.Now}
}

// TestTopology shows why the topology clients of go-redis do not find the master that was promoted last (ADR 0028).
func TestTopology(t *testing.T) {
	t.Run("sentinels", func(t *testing.T) {
		const former, promoted = "127.0.0.1:1", "127.0.0.1:2"
		sentinel := func(master, epoch string, ready <-chan struct{}, answered func()) string {
			host, port, _ := net.SplitHostPort(master)
			return fakeServer(t, func(command string) string {
				switch {
				case strings.HasPrefix(command, "SENTINEL GET-MASTER-ADDR-BY-NAME"):
					<-ready
					defer answered()
					return bulk(host, port)
				case strings.HasPrefix(command, "SENTINEL MASTER"):
					return bulk("config-epoch", epoch)
				default:
					return ""
				}
			})
		}
		start := func() (lagging, informed string) {
			at, later := make(chan struct{}), make(chan struct{})
			close(at)
			lagging = sentinel(former, "1", at, sync.OnceFunc(func() { time.AfterFunc(50*time.Millisecond, func() { close(later) }) }))
			return lagging, sentinel(promoted, "2", later, func() {})
		}
		t.Run("the_highest_epoch_is_the_master", func(t *testing.T) {
			lagging, informed := start()
			s := newSentinels(newShared(t, "redis+sentinel://main@"+lagging+","+informed))
			defer s.close()
			testkit.Eventually(t, func() error { // A busy machine may miss the timeout of a query.
				address, err := s.masterAddr(t.Context())
				if err == nil && address != promoted {
					err = errors.New("the master is " + address)
				}
				return err
			})
		})
		t.Run("go-redis_uses_the_first_answer", func(t *testing.T) {
			lagging, informed := start()
			var dialed atomic.Value
			client := redis.NewFailoverClient(&redis.FailoverOptions{
				MasterName: "main", SentinelAddrs: []string{lagging, informed}, MaxRetries: -1, DialerRetries: 1,
				Dialer: func(ctx context.Context, network, address string) (net.Conn, error) {
					if address == former || address == promoted {
						dialed.Store(address)
						return nil, errors.New("not a real server")
					}
					return new(net.Dialer).DialContext(ctx, network, address)
				},
			})
			defer client.Close()
			_ = client.Ping(t.Context()).Err()
			if dialed.Load() != former {
				t.Errorf("the master is %v: see whether ADR 0028 still holds", dialed.Load())
			}
		})
	})
	t.Run("cluster", func(t *testing.T) {
		start := func() (former, promoted string, queried *[2]atomic.Int64) {
			queried = new([2]atomic.Int64)
			views := new([2]atomic.Value)
			node := func(i int) string {
				return fakeServer(t, func(command string) string {
					switch command {
					case "CLUSTER NODES":
						queried[i].Add(1)
						return bulk(views[i].Load().([2]string)[0])
					case "CLUSTER SLOTS":
						queried[i].Add(1)
						return views[i].Load().([2]string)[1]
					default:
						return ""
					}
				})
			}
			former, promoted = node(0), node(1)
			slots := func(address string) string {
				host, port, _ := net.SplitHostPort(address)
				return "*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n" + bulk(host) + ":" + port + "\r\n"
			}
			views[0].Store([2]string{line(former, "myself,master", 5, "0-16383") + line(promoted, "slave", 5, ""), slots(former)})
			views[1].Store([2]string{line(former, "master,fail", 5, "") + line(promoted, "myself,master", 6, "0-16383"), slots(promoted)})
			return former, promoted, queried
		}
		t.Run("the_highest_epoch_is_the_master", func(t *testing.T) {
			former, promoted, _ := start()
			testkit.Eventually(t, func() error { // As above.
				c := newCluster(newShared(t, "redis+cluster://"+former+","+promoted))
				c.setEpoch("epoch")
				defer c.close()
				inst, err := c.instanceFor(t.Context(), "key")
				if err == nil && inst.shard.address != promoted {
					err = errors.New("the master is " + inst.shard.address)
				}
				return err
			})
		})
		t.Run("go-redis_queries_one_node", func(t *testing.T) {
			former, promoted, queried := start()
			client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{former, promoted}, MaxRetries: -1})
			defer client.Close()
			if _, err := client.MasterForKey(t.Context(), "key"); err != nil {
				t.Fatal(err)
			}
			if queried[0].Load() > 0 && queried[1].Load() > 0 {
				t.Error("it has queried both nodes: see whether ADR 0028 still holds")
			}
		})
	})
}

package redisbackend

import "testing"

func TestCheckVersion(t *testing.T) {
	for info, refused := range map[string]bool{
		"redis_version:2.8.24\r\n":                             true,
		"# Server\r\nredis_version:5.0.14\r\nredis_mode:x\r\n": true,
		"# Server\r\nredis_version:6.0.0\r\n":                  false,
		"redis_version:7.0.15\r\n":                             false,
		"redis_version:10.1\r\n":                               false,
		"redis_version:7.2.4\r\nvalkey_version:8.1.0\r\n":      false,
		"redis_version:unstable\r\n":                           false,
		"run_id:1\r\n":                                         false,
		"":                                                     false,
	} {
		if err := checkVersion(info); (err != nil) != refused {
			t.Errorf("checkVersion(%q) returns %v", info, err)
		}
	}
}

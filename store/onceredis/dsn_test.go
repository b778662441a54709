package onceredis_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/oncehq/once/store/onceredis"
)

func TestParseDSN(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]onceredis.Target{
		"redis://localhost":     {Mode: onceredis.Single, Addrs: []string{"localhost:6379"}},
		"redis://localhost:1/2": {Mode: onceredis.Single, Addrs: []string{"localhost:1"}, DB: 2},
		"redis://[::1]:1":       {Mode: onceredis.Single, Addrs: []string{"[::1]:1"}},
		"redis://[::1]":         {Mode: onceredis.Single, Addrs: []string{"[::1]:6379"}},
		"redis://:pw@h":         {Mode: onceredis.Single, Addrs: []string{"h:6379"}, Password: "pw"},
		"rediss://me:p%40%2F%3A@h": {
			Mode: onceredis.Single, Addrs: []string{"h:6379"}, Encrypted: true, Username: "me", Password: "p@/:",
		},
		"redis+sentinel://a,b:1/the%2Fmaster/3": {
			Mode: onceredis.Sentinel, Addrs: []string{"a:26379", "b:1"}, Master: "the/master", DB: 3,
		},
		"rediss+sentinel://u:p@a/m?sentinel_user=su&sentinel_password=sp": {
			Mode: onceredis.Sentinel, Addrs: []string{"a:26379"}, Master: "m", Encrypted: true,
			Username: "u", Password: "p", SentinelUsername: "su", SentinelPassword: "sp",
		},
		"redis+cluster://a:1,b:2,c": {Mode: onceredis.Cluster, Addrs: []string{"a:1", "b:2", "c:6379"}},
	} {
		got, err := onceredis.ParseDSN(dsn)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, error %v", dsn, got, err)
		}
	}
}

func TestMalformedDSNsAreExplained(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"":                                 "has no scheme",
		"localhost:6379":                   "has no scheme",
		"http://localhost":                 "unknown scheme",
		"redis+single://localhost":         "unknown scheme",
		"redis+other://localhost":          "unknown scheme",
		"redis://":                         "host is missing",
		"redis://h:0":                      "a port is not a number",
		"redis://h:http":                   "a port is not a number",
		"redis://a,b":                      "say redis+sentinel or redis+cluster",
		"redis://h/x":                      "database after the slash",
		"redis://h/-1":                     "database after the slash",
		"redis+cluster://h/1":              "database 0 only",
		"redis+sentinel://h":               "name of the master set is missing",
		"redis://u:%zz@h":                  "not percent-encoded",
		"redis://h?x=%zz":                  "not percent-encoded",
		"redis://h?password=p":             "unknown parameter",
		"redis://h?min_replicas=many":      "min_replicas is not a number",
		"redis://h?max_flush_delay=20":     "max_flush_delay is not a duration",
		"redis://h?max_conns=1&timeout=no": "timeout is not a duration",
	} {
		_, err := onceredis.ParseDSN(dsn)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want %q in it", dsn, err, want)
		}
	}
}

func TestParametersOfTheDSNAreHeededUnlessTheConfigSaysOtherwise(t *testing.T) {
	t.Parallel()
	for parameter, want := range map[string]string{
		"min_replicas=-1":         "MinReplicas is -1",
		"prefix=%7B":              "Prefix has braces",
		"min_replicas_timeout=-2": "min_replicas_timeout is not a duration",
		"timeout=-2s":             "Timeout is -2s",
		"dial_timeout=-2s":        "DialTimeout is -2s",
		"max_flush_delay=-2s":     "MaxFlushDelay is -2s",
		"max_outcome=-2":          "MaxOutcome is -2",
		"max_conns=-2":            "MaxConns is -2",
		"tls_ca=x":                "has TLS parameters but no TLS",
	} {
		_, err := onceredis.Open(t.Context(), onceredis.Config{DSN: "redis://localhost:1?" + parameter})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q in it", parameter, err, want)
		}
	}
	_, err := onceredis.Open(t.Context(), onceredis.Config{DSN: "redis://localhost:1?max_conns=-2", MaxConns: -3})
	if err == nil || !strings.Contains(err.Error(), "MaxConns is -3") {
		t.Errorf("got error %v, want the Config's MaxConns in it", err)
	}
}

// Whatever is wrong with a DSN, and wherever its target is printed, no password is seen.
func FuzzNoPasswordIsPrinted(f *testing.F) {
	for _, dsn := range []string{
		"redis://user:%s@host:1/0", "redis://:%s@host", "redis//:%s@host", "redis://:%s", "redis://u:%s@h:port", "%s",
		"redis+sentinel://u:%s@h", "redis+cluster://u:%s@h/9", "rediss://u:x?%s@h", "redis://u:x/%s@h", "redis://h?sentinel_password=%s&x=y",
		"redis://u:x%%zz%s@h", "redis+%s://h",
	} {
		f.Add(dsn)
	}
	f.Fuzz(func(t *testing.T, format string) {
		const secret = "hunter2hunter2"
		if strings.Count(format, "%s") != 1 {
			return
		}
		before, after, _ := strings.Cut(format, "%s")
		target, err := onceredis.ParseDSN(before + secret + after)
		for _, text := range []string{fmt.Sprint(err), target.String(), fmt.Sprintf("%v %+v %#v", target, target, target)} {
			// A secret in the place of a host, a user or a master set is not one.
			if strings.Contains(text, secret) && !isName(target, secret) {
				t.Errorf("%q: printed %q", format, text)
			}
		}
	})
}

func isName(t onceredis.Target, s string) bool {
	return strings.Contains(t.Username+t.Master+strings.Join(t.Addrs, ","), s)
}

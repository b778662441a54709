package onceetcd_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/oncehq/once/store/onceetcd"
)

func TestParseDSN(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]struct {
		addrs, user, password, prefix string
		encrypted                     bool
	}{
		"etcd://localhost":            {addrs: "localhost:2379"},
		"etcd://[::1]:1":              {addrs: "[::1]:1"},
		"etcd://[::1]":                {addrs: "[::1]:2379"},
		"etcd://a,b:1,c/shop":         {addrs: "a:2379,b:1,c:2379", prefix: "shop/"},
		"etcd://a/shop/":              {addrs: "a:2379", prefix: "shop/"},
		"etcd://a/%2Fshop%2Feu":       {addrs: "a:2379", prefix: "/shop/eu/"},
		"etcd://a/shop/eu?timeout=1s": {addrs: "a:2379", prefix: "shop/eu/"},
		"etcds://me:p%40%2F%3A@h":     {addrs: "h:2379", encrypted: true, user: "me", password: "p@/:"},
	} {
		got, err := onceetcd.ParseDSN(dsn)
		if err != nil || strings.Join(got.Addrs, ",") != want.addrs || got.Username != want.user ||
			got.Password != want.password || got.Prefix() != want.prefix || got.Encrypted != want.encrypted {
			t.Errorf("%s: got %+v with prefix %q, error %v", dsn, got, got.Prefix(), err)
		}
	}
}

func TestMalformedDSNsAreExplained(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"":                          "has no scheme",
		"localhost:2379":            "has no scheme",
		"http://localhost":          "unknown scheme",
		"etcd://":                   "host is missing",
		"etcd://a,,b":               "host is missing",
		"etcd://h:0":                "a port is not a number",
		"etcd://h:http":             "a port is not a number",
		"etcd://me@h":               "give both or none",
		"etcd://:pw@h":              "give both or none",
		"etcd://u:%zz@h":            "user or password is not percent-encoded",
		"etcd://h/%zz":              "prefix is not percent-encoded",
		"etcd://h?x=%zz":            "parameters are not percent-encoded",
		"etcd://h?password=p":       "unknown parameter",
		"etcd://h?max_outcome=many": "max_outcome is not a number",
		"etcd://h?dial_timeout=20":  "dial_timeout is not a duration",
		"etcd://h?timeout=no":       "timeout is not a duration",
	} {
		_, err := onceetcd.ParseDSN(dsn)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got error %v, want %q in it", dsn, err, want)
		}
	}
}

func TestParametersOfTheDSNAreHeededUnlessTheConfigSaysOtherwise(t *testing.T) {
	t.Parallel()
	for parameter, want := range map[string]string{
		"max_outcome=-2":    "MaxOutcome is -2",
		"timeout=-2s":       "Timeout is -2s",
		"dial_timeout=-2s":  "DialTimeout is -2s",
		"tls_ca=x":          "has TLS parameters but no TLS",
		"tls_server_name=x": "has TLS parameters but no TLS",
	} {
		_, err := onceetcd.Open(t.Context(), onceetcd.Config{DSN: "etcd://localhost:1?" + parameter})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q in it", parameter, err, want)
		}
	}
	_, err := onceetcd.Open(t.Context(), onceetcd.Config{DSN: "etcd://localhost:1?max_outcome=-2", MaxOutcome: -3})
	if err == nil || !strings.Contains(err.Error(), "MaxOutcome is -3") {
		t.Errorf("got error %v, want the Config's MaxOutcome in it", err)
	}
	for parameter, want := range map[string]string{
		"tls_ca=/nowhere": "tls_ca: open /nowhere", "tls_cert=/nowhere": "tls_cert and tls_key",
	} {
		_, err := onceetcd.Open(t.Context(), onceetcd.Config{DSN: "etcds://localhost:1?" + parameter})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want %q in it", parameter, err, want)
		}
	}
}

// Whatever is wrong with a DSN, and wherever its target is printed, no password is seen.
func FuzzNoPasswordIsPrinted(f *testing.F) {
	for _, dsn := range []string{
		"etcd://user:%s@host:1/p", "etcd//u:%s@host", "etcd://u:%s", "etcd://u:%s@h:port", "%s", "etcds://u:%s@h/%%zz",
		"etcds://u:x?%s@h", "etcd://u:x/%s@h", "etcd://h?tls_key=%s&x=y", "etcd://u:x%%zz%s@h", "etcd+%s://h", "etcd://:%s@h",
	} {
		f.Add(dsn)
	}
	f.Fuzz(func(t *testing.T, format string) {
		const secret = "hunter2hunter2"
		if strings.Count(format, "%s") != 1 {
			return
		}
		before, after, _ := strings.Cut(format, "%s")
		target, err := onceetcd.ParseDSN(before + secret + after)
		// A secret in the place of a host, a user or a prefix is not one.
		if slices.ContainsFunc(append(target.Addrs, target.Username, target.Prefix()),
			func(s string) bool { return strings.Contains(s, secret) }) {
			return
		}
		for _, text := range []string{fmt.Sprint(err), target.String(), fmt.Sprintf("%v %+v %#v", target, target, target)} {
			if strings.Contains(text, secret) {
				t.Errorf("%q: printed %q", format, text)
			}
		}
	})
}

package oncenats_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/oncehq/once/store/oncenats"
)

func TestParseDSN(t *testing.T) {
	t.Parallel()
	got, err := oncenats.ParseDSN("nats+tls://us%40er:hunter2@h1,[::1]:4333/shop?timeout=2s&domain=hub&token=hunter2&creds=/f")
	ok(t, err)
	if got.Stream != "shop" || !got.Encrypted || got.Username != "us@er" || got.Password != "hunter2" ||
		join(got.Addrs) != "h1:4222,[::1]:4333" || got.Domain != "hub" || got.Token != "hunter2" || got.Credentials != "/f" {
		t.Errorf("got %v", got)
	}
	if text := fmt.Sprintf("%v %+v %#v", got, got, got); strings.Contains(text, "hunter2") ||
		!strings.Contains(text, "nats+tls://us@er@h1:4222,[::1]:4333/shop") {
		t.Errorf("its text is %s", text)
	}
	if got, err := oncenats.ParseDSN("nats://h"); err != nil || got.Stream != oncenats.DefaultStream || got.Encrypted {
		t.Errorf("got %v, error %v", got, err)
	}
}

func TestParseDSNSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for dsn, say := range map[string]string{
		"":                               "no scheme",
		"redis://h":                      "unknown scheme",
		"nats://":                        "host is missing",
		"nats://h:0":                     "port",
		"nats://h:x":                     "port",
		"nats://h,,i":                    "host is missing",
		"nats://h/a.b":                   "stream after the slash",
		"nats://h/a/b":                   "stream after the slash",
		"nats://%zz:hunter2@h":           "percent-encoded",
		"nats://h?x=%zz":                 "percent-encoded",
		"nats://h?hunter2=1":             "unknown parameter",
		"nats://h?timeout=hunter2":       "timeout is not a duration",
		"nats://h?replicas=hunter2":      "replicas is not a number",
		"nats://h?domain=a.b":            "domain",
		"nats://h?timeout=x&replicas=x":  "timeout is not a duration",
		"nats://h?replicas=x&max_bytes=": "max_bytes is not a number",
	} {
		if _, err := oncenats.ParseDSN(dsn); err == nil || !strings.Contains(err.Error(), say) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: got error %v, want it to say %q", dsn, err, say)
		}
	}
}

func TestConfigReportsAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := oncenats.Open(t.Context(), oncenats.Config{
		DSN: "nats://", MaxOutcome: -1, MaxBytes: -1, Replicas: 2, DialTimeout: -time.Second, Timeout: -time.Second,
	})
	for _, name := range []string{"host", "MaxOutcome", "MaxBytes", "Replicas", "DialTimeout", "Timeout"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got error %v, want it to name %s", err, name)
		}
	}
	_, err = oncenats.Open(t.Context(), oncenats.Config{DSN: "nats://127.0.0.1:1?tls_ca=/none"})
	if err == nil || !strings.Contains(err.Error(), "no TLS") {
		t.Errorf("TLS parameters without TLS: got error %v", err)
	}
}

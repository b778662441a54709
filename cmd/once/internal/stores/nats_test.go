package stores_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/oncehq/once/cmd/once/internal/stores"
)

func TestSchemaOfNATSIsTheStream(t *testing.T) {
	t.Parallel()
	s, err := stores.Of("nats://127.0.0.1/shop")
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.Schema("nats://127.0.0.1/shop?replicas=3&max_bytes=1000000")
	if err != nil {
		t.Fatal(err)
	}
	var stream map[string]any
	if err := json.Unmarshal([]byte(text), &stream); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"name": "shop", "subjects": "[once.shop.>]", "num_replicas": "3", "max_bytes": "1e+06",
		"discard": "new", "max_age": "0", "storage": "file", "max_msgs_per_subject": "1",
	} {
		if got := fmt.Sprint(stream[name]); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func TestNATSThatIsDownIsSaidToBe(t *testing.T) {
	t.Parallel()
	const dsn = "nats://user:hunter2@127.0.0.1:1/shop"
	s, err := stores.Of(dsn)
	if err != nil {
		t.Fatal(err)
	}
	say := func(string, ...any) {}
	_, examined := stores.Examine(t.Context(), dsn, say)
	_, opened := stores.Open(t.Context(), dsn)
	for _, err := range []error{examined, opened, s.Migrate(t.Context(), dsn)} {
		if err == nil || !strings.Contains(err.Error(), "is the server running there") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got error %v", err)
		}
	}
}

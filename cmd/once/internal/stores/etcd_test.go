package stores_test

import (
	"strings"
	"testing"

	"github.com/oncehq/once/cmd/once/internal/stores"
)

func TestEtcdThatIsDownIsSaidToBe(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{"etcd://127.0.0.1:1/shop", "etcds://user:hunter2@127.0.0.1:1,127.0.0.1:2/shop"} {
		say := func(string, ...any) {}
		_, examined := stores.Examine(t.Context(), dsn, say)
		_, opened := stores.Open(t.Context(), dsn)
		for _, err := range []error{examined, opened} {
			if err == nil || !strings.Contains(err.Error(), "is the server running there") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%s: got error %v", stores.Redact(dsn), err)
			}
		}
	}
}

// There is nothing to be made in etcd before records can be kept.
func TestEtcdNeedsNoSchema(t *testing.T) {
	t.Parallel()
	s, err := stores.Of("etcd://127.0.0.1/shop")
	if err != nil || s.Migrate != nil || s.Schema != nil {
		t.Errorf("got %+v, error %v", s, err)
	}
}

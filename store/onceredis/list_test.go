package onceredis_test

import (
	"fmt"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceredis"
)

var listAll = once.Filter{}

// scopes of which one must not be taken for a pattern that matches another.
var oddScopes = []string{"a", "a*", "a?", "[a]", `a\`, "^a", "a:b", "{a}", "a\x00b", "日本", "ab"}

func TestListKeepsPrefixesAndScopesApart(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	prefixes := []string{"once", "on*e", "on[c]e", "o", "once-2"}
	for _, prefix := range prefixes {
		s := open(t, onceredis.Config{DSN: dsn(r), Prefix: prefix})
		for _, scope := range oddScopes {
			wins(t, s, claimOn(once.Key{Scope: scope, ID: "of " + prefix}))
		}
	}
	for _, other := range []string{"once", "once{}", "once{}:", "once{}:1:a", "once{}:01:a:x", "once{}:999:a:x", "once{}:1:ab:x"} {
		r.Command(t, "SET", other, "not a record")
	}
	r.Command(t, "LPUSH", "once{}:1:a:list", "not even a string")
	for _, prefix := range prefixes {
		s := open(t, onceredis.Config{DSN: dsn(r), Prefix: prefix})
		for _, scope := range append(oddScopes, "") {
			want := map[once.Key]bool{}
			for _, s := range oddScopes {
				if scope == "" || scope == s {
					want[once.Key{Scope: s, ID: "of " + prefix}] = true
				}
			}
			for rec, err := range s.List(t.Context(), once.Filter{Scope: scope}) {
				ok(t, err)
				if !want[rec.Key] {
					t.Errorf("prefix %q, scope %q: listed %q", prefix, scope, rec.Key)
				}
				delete(want, rec.Key)
			}
			if len(want) > 0 {
				t.Errorf("prefix %q, scope %q: did not list %d records", prefix, scope, len(want))
			}
		}
	}
}

func batch(n int, id func(int) string) []once.Claim {
	claims := make([]once.Claim, n)
	for i := range claims {
		claims[i] = claimOn(once.Key{Scope: "test", ID: id(i)})
	}
	return claims
}

func TestDamagedRecordsAreUnreadable(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	s := open(t, onceredis.Config{DSN: dsn(r)})
	for i, value := range []string{"", "C", "X0", string(make([]byte, 87)), "D" + string(make([]byte, 85)) + "\xff"} {
		c := claimOn(once.Key{Scope: "test", ID: fmt.Sprint(i)})
		r.Command(t, "SET", keyName(c.Key), value)
		_, err := s.Claim(t.Context(), c)
		unreadable(t, "claim", err)
		_, err = s.Load(t.Context(), c.Key)
		unreadable(t, "load", err)
		if got := r.Command(t, "GET", keyName(c.Key)); got != value {
			t.Errorf("a claim of a damaged record changed it to %q", got)
		}
	}
	c := newClaim()
	r.Command(t, "LPUSH", keyName(c.Key), "x")
	_, err := s.Claim(t.Context(), c)
	unreadable(t, "claim of a list", err)
}

package onceredis_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceredis"
)

func unreadable(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, once.ErrUnreadable) {
		t.Errorf("%s: got error %v, want ErrUnreadable", what, err)
	}
}

// Names and keys are in one-to-one correspondence.
func FuzzKeyName(f *testing.F) {
	for _, s := range oddScopes {
		f.Add("once", s, "id", "other"+s, "id")
		f.Add("once", s+":id", "x", s, "id:x")
	}
	f.Fuzz(func(t *testing.T, prefix, scope, id, otherScope, otherID string) {
		k, other := once.Key{Scope: scope, ID: id}, once.Key{Scope: otherScope, ID: otherID}
		if k.Check() != nil || other.Check() != nil || strings.ContainsAny(prefix, "{}") {
			return
		}
		name := onceredis.KeyName(prefix, k)
		if got, ok := onceredis.ParseName(prefix, name); !ok || got != k {
			t.Errorf("%q: parsed as %q, %v", name, got, ok)
		}
		if k != other && name == onceredis.KeyName(prefix, other) {
			t.Errorf("%q and %q have the same name %q", k, other, name)
		}
	})
}

// The scripts call nothing that Redis 6.2 does not have. Other versions are tested by running the
// tests against them; this one is not to be had everywhere.
func TestScriptsNeedNoNewerCommandsThan62(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	called := regexp.MustCompile(`redis\.p?call\('(\w+)'`)
	var names []string
	for _, text := range onceredis.Texts() {
		for _, m := range called.FindAllStringSubmatch(text, -1) {
			names = append(names, m[1])
		}
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		reply := strings.Split(r.Command(t, "COMMAND", "DOCS", name), "\n")
		i := slices.Index(reply, "since")
		if i < 0 || reply[i+1] > "6.2.0" {
			t.Errorf("%s: since %q", name, reply)
		}
	}
	if len(names) < 7 {
		t.Errorf("only %v were found in the scripts", names)
	}
}

package stores_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/cmd/once/internal/stores"
)

func TestSecretsOfADSNAreNotShown(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"memory:":           "memory:",
		"disk:/var/lib/x y": "disk:/var/lib/x y",
		"redis://user:hunter2@db.example:6379/0?password=hunter2#hunter2": "redis://db.example:6379/0",
		"postgres://hunter2@h1,h2/db":                                     "postgres://h1,h2/db",
		"mysql:user:hunter2@tcp(db:3306)/once":                            "mysql:…",
		"postgres:host=db password=hunter2":                               "postgres:…",
		"redis://us%er:hunter2@h":                                         "redis:…",
	} {
		if got := stores.Redact(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestUnknownSchemesAreRefusedWithTheKnownOnes(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{"", "nope:x", "/var/lib/once", ":"} {
		err := stores.Check(dsn)
		if err == nil {
			t.Errorf("%q is accepted", dsn)
			continue
		}
		for _, s := range stores.Schemes() {
			if !strings.Contains(err.Error(), s.Form) {
				t.Errorf("%q: error %q does not name %s", dsn, err, s.Form)
			}
		}
	}
	if _, err := stores.Open(t.Context(), "memory:x"); err == nil {
		t.Error("memory: with options is accepted")
	}
}

func TestResolveFindsTheDataDirectory(t *testing.T) {
	t.Setenv("STATE_DIRECTORY", "")
	t.Setenv("XDG_STATE_HOME", "")
	t.Setenv("HOME", "/home/u")
	for _, tt := range []struct{ dsn, dataDir, env, value, want string }{
		{"memory:", "", "", "", "memory:"},
		{"disk:/x", "/d", "", "", "disk:/x"},
		{"", "/d", "STATE_DIRECTORY", "/s", "disk:/d/store"},
		{"disk:", "", "STATE_DIRECTORY", "/s", "disk:/s/store"},
		{"disk", "", "XDG_STATE_HOME", "/x", "disk:/x/once/store"},
		{"", "", "XDG_STATE_HOME", "relative", "disk:/home/u/.local/state/once/store"},
		{"", "", "", "", "disk:/home/u/.local/state/once/store"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			if tt.env != "" {
				t.Setenv(tt.env, tt.value)
			}
			if got, err := stores.Resolve(tt.dsn, tt.dataDir); err != nil || got != tt.want {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
}

func TestExamineSaysWhatAStoreIsWorth(t *testing.T) {
	t.Parallel()
	dsn := "disk:" + filepath.Join(t.TempDir(), "store")
	var said []string
	say := func(format string, args ...any) { said = append(said, fmt.Sprintf(format, args...)) }
	if _, err := stores.Examine(t.Context(), dsn, say); err == nil {
		t.Error("a store that is not there is well")
	}
	if _, err := os.Stat(stores.Directory(dsn)); err == nil {
		t.Error("to examine a store made it")
	}
	s, err := stores.Open(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	if g, err := stores.Examine(t.Context(), dsn, say); err == nil || g.Store != "disk" {
		t.Errorf("in use: got %+v, %v", g, err)
	}
	if err := stores.Close(s); err != nil {
		t.Fatal(err)
	}
	if g, err := stores.Examine(t.Context(), dsn, say); err != nil || g.Weakness() != "" || len(said) == 0 {
		t.Errorf("got %+v, %v, %q", g, err, said)
	}
	if g, err := stores.Examine(t.Context(), "memory:", say); err != nil || g.Crash != once.Lost {
		t.Errorf("memory: got %+v, %v", g, err)
	}
}

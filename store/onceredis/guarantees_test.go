package onceredis_test

import (
	"strings"
	"testing"

	"github.com/oncehq/once"
	"github.com/oncehq/once/internal/servers"
	"github.com/oncehq/once/store/onceredis"
)

func TestGuaranteesFollowTheServersSettings(t *testing.T) {
	t.Parallel()
	const lost, survives, na = once.Lost, once.Survives, once.NotApplicable
	for settings, want := range map[string]struct {
		crash, power once.Survival
		note         string
	}{
		"appendonly no":        {lost, lost, "set appendonly to yes"},
		"appendfsync no":       {survives, lost, "set appendfsync to always"},
		"appendfsync everysec": {lost, lost, "set appendfsync to always"},
		"appendfsync always":   {survives, survives, ""},
		"appendfsync always,no-appendfsync-on-rewrite yes":        {survives, lost, "no-appendfsync-on-rewrite"},
		"appendfsync always,rename-command CONFIG secret-command": {lost, lost, "CONFIG GET is refused"},
	} {
		s := open(t, onceredis.Config{DSN: dsn(servers.Redis(t, strings.Split(settings, ",")...))})
		g := s.Guarantees()
		if g.Crash != want.crash || g.Power != want.power || g.Failover != na || !g.Shared {
			t.Errorf("%s: got %+v", settings, g)
		}
		if notes := strings.Join(g.Notes, " "); !strings.Contains(notes, want.note) {
			t.Errorf("%s: %q is not in the notes %q", settings, want.note, notes)
		}
		if !strings.HasPrefix(g.Store, "Redis ") && !strings.HasPrefix(g.Store, "Valkey ") {
			t.Errorf("the store is named %q", g.Store)
		}
		findings, err := s.Doctor(t.Context())
		ok(t, err)
		if all := strings.Join(findings, "\n"); !strings.Contains(all, want.note) || !strings.Contains(all, "set maxmemory") {
			t.Errorf("%s: the doctor says %q", settings, findings)
		}
	}
}

func TestHoldNeedsNoExcuseOnOneServerThatSyncs(t *testing.T) {
	t.Parallel()
	for sync, trusted := range map[string]bool{"always": true, "everysec": false} {
		s := open(t, onceredis.Config{DSN: dsn(servers.Redis(t, "appendfsync "+sync))})
		_, err := once.New(once.Config{Store: s, InDoubt: once.Hold})
		if trusted != (err == nil) {
			t.Errorf("appendfsync %s: got error %v", sync, err)
		}
	}
}

func TestDoctorFindsWhatHasBecomeDangerous(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t, "appendfsync always", "maxmemory 50mb")
	s := open(t, onceredis.Config{DSN: dsn(r)})
	if findings, err := s.Doctor(t.Context()); err != nil || len(findings) > 0 {
		t.Fatalf("of a server that is well: got %q, error %v", findings, err)
	}
	for _, sickness := range []struct{ name, value, want string }{
		{"maxmemory-policy", "allkeys-lru", "set maxmemory-policy to noeviction"},
		{"appendonly", "no", "set appendonly to yes"},
		{"maxmemory", "0", "set maxmemory"},
	} {
		r.Command(t, "CONFIG", "SET", sickness.name, sickness.value)
		findings, err := s.Doctor(t.Context())
		if err != nil || !strings.Contains(strings.Join(findings, "\n"), sickness.want) {
			t.Errorf("%s %s: got %q, error %v", sickness.name, sickness.value, findings, err)
		}
	}
	r.Kill()
	if findings, err := s.Doctor(t.Context()); err == nil {
		t.Errorf("of a server that is gone: got %q", findings)
	}
}

package servers_test

import (
	"testing"

	"github.com/oncehq/once/internal/servers"
)

func TestRedisComesBackWithItsRecordsAfterKill(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	r.Command(t, "SET", "k", "v")
	r.Kill()
	r.Restart(t)
	if got := r.Command(t, "GET", "k"); got != "v" {
		t.Errorf("after kill and restart: got %q, want v", got)
	}
}

func TestRedisSettingsReachTheServer(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t, "maxmemory 10mb", "client-output-buffer-limit normal 100mb 50mb 60")
	if got, want := r.Command(t, "CONFIG", "GET", "maxmemory"), "maxmemory\n10485760"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestRedisClusterServesAllSlots(t *testing.T) {
	t.Parallel()
	c := servers.RedisCluster(t)
	for _, n := range c.Nodes() {
		if got := n.Command(t, "CLUSTER", "COUNTKEYSINSLOT", "0"); got != "0" {
			t.Errorf("got %q keys in slot 0 of a new cluster", got)
		}
	}
}

func TestRedisSentinelKnowsTheMaster(t *testing.T) {
	t.Parallel()
	s := servers.RedisSentinel(t)
	for _, n := range s.Sentinels {
		got := n.Command(t, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", s.Name)
		if want := "127.0.0.1\n" + s.Master.Addr[len("127.0.0.1:"):]; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestPausedServerAnswersWhenResumed(t *testing.T) {
	t.Parallel()
	r := servers.Redis(t)
	conn := dial(t, r.Addr)
	r.Pause()
	conn.send(t, "PING\r\n")
	conn.silent(t)
	r.Resume()
	conn.expect(t, "+PONG\r\n")
}

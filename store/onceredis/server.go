package onceredis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// server is what one master said of itself.
type server struct {
	addr    string
	engine  string // "Redis 7.0.15"
	major   int
	minor   int
	master  bool
	cluster bool

	replicas   int    // connected
	maxmemory  int64  // 0: no bound
	policy     string // maxmemory-policy
	evicted    int64
	appendonly bool
	writeError bool // of the append-only file, or of a snapshot

	// Settings that only CONFIG tells. Empty: it must not be asked.
	appendfsync       string
	noFsyncOnRewrite  string
	minReplicasToKeep string
}

// inspect asks all masters for their settings.
func inspect(ctx context.Context, c rueidis.Client) ([]server, error) {
	ctx = patient{ctx}
	var masters []server
	var errs []error
	for addr, node := range c.Nodes() {
		s, err := ask(ctx, addr, node)
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("onceredis: server %s: %w", addr, err))
		case s.master || c.Mode() != rueidis.ClientModeCluster:
			masters = append(masters, s)
		}
	}
	slices.SortFunc(masters, func(a, b server) int { return strings.Compare(a.addr, b.addr) })
	if len(masters) == 0 {
		return nil, errors.Join(append(errs, errors.New("onceredis: no master answers"))...)
	}
	if c.Mode() == rueidis.ClientModeCluster {
		// Nodes that do not answer do not matter, as long as the others serve all slots.
		first := masters[0].addr
		text, err := c.Nodes()[first].Do(ctx, c.B().ClusterInfo().Build()).ToString()
		if state := parseInfo(text)["cluster_state"]; err == nil && state != "ok" {
			err = fmt.Errorf("onceredis: the cluster does not serve all slots (cluster_state %s); "+
				"see CLUSTER INFO on %s", state, first)
		}
		if err != nil {
			return nil, errors.Join(append(errs, err)...)
		}
	}
	return masters, nil
}

func ask(ctx context.Context, addr string, c rueidis.Client) (server, error) {
	text, err := c.Do(ctx, c.B().Info().Build()).ToString()
	if err != nil {
		return server{}, fmt.Errorf("INFO: %w", err)
	}
	info := parseInfo(text)
	s := server{
		addr:       addr,
		master:     info["role"] == "master",
		cluster:    info["cluster_enabled"] == "1",
		replicas:   int(number(info["connected_slaves"])),
		maxmemory:  number(info["maxmemory"]),
		policy:     info["maxmemory_policy"],
		evicted:    number(info["evicted_keys"]),
		appendonly: info["aof_enabled"] == "1",
		writeError: info["aof_last_write_status"] == "err" || info["rdb_last_bgsave_status"] == "err",
	}
	s.engine, s.major, s.minor = version(info)
	s.appendfsync = setting(ctx, c, "appendfsync")
	s.noFsyncOnRewrite = setting(ctx, c, "no-appendfsync-on-rewrite")
	s.minReplicasToKeep = setting(ctx, c, "min-replicas-to-write")
	return s, nil
}

// setting returns the value of a setting, or nothing if it is not to be had.
func setting(ctx context.Context, c rueidis.Client, name string) string {
	values, err := c.Do(ctx, c.B().ConfigGet().Parameter(name).Build()).AsStrMap()
	if err != nil {
		return ""
	}
	return values[name]
}

// parseInfo reads lines of the form name:value. The client leaves the kind of a verbatim string
// (RESP3) in front of it.
func parseInfo(text string) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(strings.TrimPrefix(text, "txt:")) {
		if name, value, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":"); ok {
			info[name] = value
		}
	}
	return info
}

func number(s string) int64 {
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

// version returns the name and version of the engine, and which version of Redis it is like.
func version(info map[string]string) (engine string, major, minor int) {
	like := info["redis_version"]
	first, rest, _ := strings.Cut(like, ".")
	second, _, _ := strings.Cut(rest, ".")
	engine = "Redis " + like
	if v := info["valkey_version"]; v != "" {
		engine = "Valkey " + v
	}
	return engine, int(number(first)), int(number(second))
}

// check reports why the server must not keep records, or nil.
func (s server) check(mode Mode) error {
	var errs []error
	report := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("onceredis: server %s "+format, append([]any{s.addr}, args...)...))
	}
	if s.major < 6 || s.major == 6 && s.minor < 2 {
		report("is %s; Redis 6.2 or newer is needed", s.engine)
	}
	if !s.master {
		report("is a read-only replica; connect to its master, or through the sentinels")
	}
	if s.cluster && mode != Cluster {
		report("belongs to a Redis Cluster; write redis+cluster:// in the DSN")
	}
	if !s.cluster && mode == Cluster {
		report("does not belong to a Redis Cluster; write redis:// or redis+sentinel:// in the DSN")
	}
	if s.policy != "noeviction" {
		report("drops keys when its memory is full (maxmemory-policy %s), and with them claims: "+
			"operations would happen again; set maxmemory-policy to noeviction", s.policy)
	}
	return errors.Join(errs...)
}

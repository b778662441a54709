package onceredis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/oncehq/once"
	"github.com/redis/rueidis"
)

// errUnreplicated: the master did what it was told, but too few replicas said so in time. It is
// unknown if that survives a failover.
var errUnreplicated = errors.New("onceredis: fewer replicas than Config.MinReplicas have confirmed " +
	"in time; see that they run and are connected")

func isNoScript(err error) bool {
	r, ok := rueidis.IsRedisErr(err)
	return ok && r.IsNoScript()
}

// usable reports why nothing may be started.
func (s *Store) usable(ctx context.Context) error {
	if s.closed.Load() {
		return once.ErrClosed
	}
	return ctx.Err()
}

// explain says what a verb's error means, and wraps that of package once, if there is one. Errors
// of Redis and of the client do not tell keys.
func (s *Store) explain(verb string, err error) error {
	switch {
	case err == nil || rueidis.IsRedisNil(err):
		return err
	case errors.Is(err, rueidis.ErrClosing) && s.closed.Load():
		return once.ErrClosed
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("onceredis: %s: no answer in time: %w", verb, err)
	}
	if _, ok := rueidis.IsRedisErr(err); !ok {
		return fmt.Errorf("onceredis: %s: %w", verb, err)
	}
	// Before Redis 7 the kind of an error within a script is in the middle of its text.
	switch text := err.Error(); {
	case strings.Contains(text, "OOM command not allowed"):
		return fmt.Errorf("onceredis: %s: the server's maxmemory is used up; raise it, "+
			"or shorten the retention: %w", verb, once.ErrFull)
	case strings.Contains(text, "WRONGTYPE"):
		return fmt.Errorf("onceredis: %s: the key holds something else than a record; "+
			"give each application a prefix of its own: %w", verb, once.ErrUnreadable)
	case strings.Contains(text, "READONLY"):
		return fmt.Errorf("onceredis: %s: the server is a read-only replica now; connect to the master, "+
			"or through the sentinels: %w", verb, err)
	case strings.Contains(text, "NOREPLICAS"):
		return fmt.Errorf("onceredis: %s: the server has fewer replicas than its min-replicas-to-write; "+
			"see that they run and are connected: %w", verb, err)
	}
	return fmt.Errorf("onceredis: %s: %w", verb, err)
}

package onceetcd

import (
	"context"
	"errors"
	"fmt"

	"github.com/oncehq/once"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// explain says what a verb's error means, and wraps that of package once, if there is one. Errors
// of etcd and of the client do not tell keys.
func (s *Store) explain(verb string, err error) error {
	if err == nil || errors.Is(err, once.ErrUnreadable) {
		return err
	}
	if s.closed.Load() {
		return once.ErrClosed
	}
	way := ""
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		way = "; the cluster has used up its quota: compact and defragment it, or raise " +
			"--quota-backend-bytes, and disarm the alarm (etcdctl alarm disarm)"
	case errors.Is(err, rpctypes.ErrRequestTooLarge), isTooLarge(err):
		return fmt.Errorf("onceetcd: %s: more than the servers take; raise their --max-request-bytes, "+
			"or set Config.MaxOutcome lower: %w", verb, once.ErrTooLarge)
	case errors.Is(err, rpctypes.ErrCorrupt):
		way = "; a member's data differs from the others': replace that member"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded), isDeadline(err):
		way = "; no answer in time"
	default:
		way = advice(err)
	}
	return fmt.Errorf("onceetcd: %s: %w%s", verb, err, way)
}

func isUnavailable(err error) bool { return code(err) == codes.Unavailable }

func isDeadline(err error) bool {
	return code(err) == codes.DeadlineExceeded || code(err) == codes.Canceled
}

// isTooLarge reports whether the client or the server has refused a message for its size, before
// etcd was asked.
func isTooLarge(err error) bool {
	return code(err) == codes.ResourceExhausted && !errors.Is(err, rpctypes.ErrNoSpace) &&
		!errors.Is(err, rpctypes.ErrTooManyRequests)
}

// code returns the kind of the error, be it the client's or etcd's.
func code(err error) codes.Code {
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		return e.Code()
	}
	return status.Code(err)
}

func isNoSpace(err error) bool { return errors.Is(err, rpctypes.ErrNoSpace) }

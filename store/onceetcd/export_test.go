package onceetcd

import (
	"context"

	"google.golang.org/grpc"
)

// OpenWith is Open with more options for the connections.
func OpenWith(ctx context.Context, cfg Config, options ...grpc.DialOption) (*Store, error) {
	return openWith(ctx, cfg, options...)
}

// DSN returns what the store was opened with.
func (s *Store) DSN() string { return s.cfg.DSN }

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

// CheckVersion reports whether a server of the version is fit.
func CheckVersion(version string) error {
	m := member{addr: "test", leader: true}
	m.setVersion(version)
	return cluster{members: []member{m}}.check()
}

// KeepsHistory reports whether nothing was compacted in that many revisions.
func (s *Store) KeepsHistory(ctx context.Context, many int64) (bool, error) {
	return keepsHistory(ctx, s.client, s.cfg, many)
}

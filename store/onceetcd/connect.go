package onceetcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

const (
	// pingAfter is how long a connection may be silent before the server is asked whether it is
	// still there. Servers do not like it below five seconds.
	pingAfter = 10 * time.Second

	// tries are those of a request that changes nothing, or could not be sent at all. Requests
	// that change something are never sent twice: what to repeat is the guard's decision.
	tries = 4

	// requestOverhead is what a request needs beside the outcome: names, and what is around them. A
	// batch of claims has more of that than anything else, half a MiB with the longest keys.
	requestOverhead = 1 << 20
)

// reach checks and completes the config, and makes the client. Without a user that sends nothing
// yet.
func reach(
	ctx context.Context, cfg Config, options ...grpc.DialOption,
) (*clientv3.Client, Target, Config, error) {
	target, err := ParseDSN(cfg.DSN)
	cfg = cfg.merge(target.config)
	if err := errors.Join(err, cfg.check()); err != nil {
		return nil, target, cfg, err
	}
	cfg = cfg.withDefaults()
	if cfg.TLS == nil {
		if cfg.TLS, err = target.tlsConfig(); err != nil {
			return nil, target, cfg, err
		}
	}
	client, err := connect(ctx, target, cfg, options)
	return client, target, cfg, err
}

func connect(ctx context.Context, t Target, cfg Config, options []grpc.DialOption) (*clientv3.Client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	scheme := "http://"
	if cfg.TLS != nil {
		scheme = "https://"
	}
	var endpoints []string
	for _, addr := range t.Addrs {
		endpoints = append(endpoints, scheme+addr)
	}
	dialTimeout := cfg.DialTimeout
	if deadline, ok := ctx.Deadline(); ok {
		dialTimeout = max(min(dialTimeout, time.Until(deadline)), 1)
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            endpoints,
		Username:             t.Username,
		Password:             t.Password,
		TLS:                  cfg.TLS,
		DialTimeout:          dialTimeout,
		DialKeepAliveTime:    pingAfter,
		DialKeepAliveTimeout: cfg.Timeout,
		MaxUnaryRetries:      tries,
		MaxCallSendMsgSize:   cfg.MaxOutcome + requestOverhead,
		Logger:               zap.NewNop(),
		DialOptions: append(options, grpc.WithConnectParams(grpc.ConnectParams{
			Backoff: backoff.Config{
				BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second,
			},
			MinConnectTimeout: cfg.DialTimeout,
		}), grpc.WithChainUnaryInterceptor(failFast)),
	})
	if err != nil {
		return nil, fmt.Errorf("onceetcd: cannot connect to %s: %w%s", t, err, advice(err))
	}
	return client, nil
}

// failFast keeps a request from waiting, until it is out of time, for a server that cannot be
// reached, which is what the client does unless told otherwise: the error would not say why.
func failFast(
	ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker,
	opts ...grpc.CallOption,
) error {
	return invoke(ctx, method, req, reply, conn, append(opts, grpc.WaitForReady(false))...)
}

// advice says what to do about an error of connecting.
func advice(err error) string {
	switch {
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return "; user or password in the DSN is wrong"
	case errors.Is(err, rpctypes.ErrUserEmpty), errors.Is(err, rpctypes.ErrPermissionDenied),
		errors.Is(err, rpctypes.ErrInvalidAuthToken):
		return "; put user and password into the DSN: etcd://user:password@host. " +
			"The user needs a role that may read and write the prefix"
	case errors.Is(err, context.DeadlineExceeded), isUnavailable(err):
		return "; is the server running there, with the same TLS, and has the cluster a leader?"
	}
	return ""
}

// etcdLeases asks a cluster for leases, each time once.
type etcdLeases struct{ client *clientv3.Client }

func (e *etcdLeases) grant(ctx context.Context, ttl int64) (clientv3.LeaseID, int64, error) {
	r, err := e.client.Grant(ctx, ttl)
	if err != nil {
		return 0, 0, err
	}
	return r.ID, r.TTL, nil
}

// keepAlive does not use the client's, which tries again without a pause until the context ends.
func (e *etcdLeases) keepAlive(ctx context.Context, id clientv3.LeaseID) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := pb.NewLeaseClient(e.client.ActiveConnection()).LeaseKeepAlive(ctx)
	if err != nil {
		return 0, err
	}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: int64(id)}); err != nil {
		return 0, err
	}
	r, err := stream.Recv()
	if err != nil {
		return 0, err
	}
	if r.TTL <= 0 {
		return 0, rpctypes.ErrLeaseNotFound
	}
	return r.TTL, nil
}

func (e *etcdLeases) revoke(ctx context.Context, id clientv3.LeaseID) error {
	_, err := e.client.Revoke(ctx, id)
	return err
}

func (e *etcdLeases) timeToLive(ctx context.Context, id clientv3.LeaseID) (int64, error) {
	r, err := e.client.TimeToLive(ctx, id)
	if err != nil {
		return 0, err
	}
	return r.TTL, nil
}

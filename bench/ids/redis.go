package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/oncehq/once"
	"github.com/oncehq/once/store/onceredis"
	"github.com/redis/rueidis"
)

// A server is a redis-server that keeps nothing on disk.
type server struct {
	cmd    *exec.Cmd
	addr   string
	client rueidis.Client
	empty  int64 // bytes of memory before
}

func startServer() (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{addr: l.Addr().String()}
	_, port, _ := net.SplitHostPort(s.addr)
	l.Close()
	s.cmd = exec.Command("redis-server", "--port", port, "--save", "", "--appendonly", "no",
		"--dir", "/tmp", "--enable-debug-command", "local")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		s.client, err = rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.addr}, DisableCache: true})
		if err == nil {
			s.empty, err = s.memory()
			return s, err
		}
		if time.Now().After(deadline) {
			s.stop()
			return nil, err
		}
	}
}

func (s *server) stop() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
}

// memory returns what the server says that it uses, in bytes.
func (s *server) memory() (int64, error) {
	text, err := s.client.Do(context.Background(), s.client.B().Info().Section("memory").Build()).ToString()
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(text, "\nused_memory:")
	value, _, _ := strings.Cut(rest, "\r")
	return strconv.ParseInt(value, 10, 64)
}

func (s *server) cost() (disk, memory int64, err error) {
	used, err := s.memory()
	return 0, used - s.empty, err
}

// age gives every key a millisecond to live, while the server's own expiry stands still.
func (s *server) age() error {
	if err := s.setActiveExpire("0"); err != nil {
		return err
	}
	return s.expireAll()
}

// forget lets the server expire keys until none is left.
func (s *server) forget() error {
	if err := s.setActiveExpire("1"); err != nil {
		return err
	}
	for {
		time.Sleep(50 * time.Millisecond)
		left, err := s.client.Do(context.Background(), s.client.B().Dbsize().Build()).AsInt64()
		if left == 0 || err != nil {
			return err
		}
	}
}

func (s *server) setActiveExpire(value string) error {
	return s.client.Do(context.Background(), s.client.B().Arbitrary("DEBUG", "SET-ACTIVE-EXPIRE", value).Build()).Error()
}

func (s *server) expireAll() error {
	ctx := context.Background()
	for cursor := uint64(0); ; {
		page, err := s.client.Do(ctx, s.client.B().Scan().Cursor(cursor).Count(1000).Build()).AsScanEntry()
		if err != nil {
			return err
		}
		cmds := make(rueidis.Commands, len(page.Elements))
		for i, key := range page.Elements {
			cmds[i] = s.client.B().Pexpire().Key(key).Milliseconds(1).Build()
		}
		for _, reply := range s.client.DoMulti(ctx, cmds...) {
			if err := reply.Error(); err != nil {
				return err
			}
		}
		if cursor = page.Cursor; cursor == 0 {
			return nil
		}
	}
}

// hashes is the store of ids.
type hashes struct {
	*onceredis.IDs
	*server
	store *onceredis.Store
}

func openRedis(retained int64) (subject, error) {
	s, err := startServer()
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	store, err := onceredis.Open(ctx, onceredis.Config{DSN: "redis://" + s.addr})
	if err != nil {
		s.stop()
		return nil, err
	}
	// All ids are in one bucket, of which there are four in a window.
	ids, err := store.IDs(ctx, onceredis.IDsConfig{Window: 30 * 24 * time.Hour, Expected: 4 * retained})
	if err != nil {
		s.stop()
		return nil, err
	}
	return &hashes{ids, s, store}, nil
}

func (h *hashes) close() {
	h.store.Close()
	h.stop()
}

// keys has a key for each id, which is set unless it is there.
type keys struct{ *server }

func openKeys(int64) (subject, error) {
	s, err := startServer()
	return keys{s}, err
}

func (k keys) close() { k.stop() }

func (k keys) ClaimIDs(ctx context.Context, scope string, o once.Owner, ids []string) ([]once.IDState, error) {
	cmds := make(rueidis.Commands, len(ids))
	for i, id := range ids {
		cmds[i] = k.client.B().Set().Key(scope + ":" + id).Value("").Nx().PxMilliseconds(1 << 31).Build()
	}
	states := make([]once.IDState, len(ids))
	for i, reply := range k.client.DoMulti(ctx, cmds...) {
		states[i] = once.IDClaimed
		if err := reply.Error(); rueidis.IsRedisNil(err) {
			states[i] = once.IDDone
		} else if err != nil {
			return nil, fmt.Errorf("SET NX: %w", err)
		}
	}
	return states, nil
}

func (k keys) CompleteIDs(ctx context.Context, scope string, o once.Owner, ids []string) error {
	_, err := k.ClaimIDs(ctx, scope, o, ids)
	return err
}

func (k keys) ReleaseIDs(context.Context, string, once.Owner, []string) error {
	return errors.ErrUnsupported
}

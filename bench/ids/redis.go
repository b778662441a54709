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
	s.cmd = exec.Command("redis-server", "--port", port, "--save", "", "--appendonly", "no", "--dir", "/tmp")
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		s.client, err = rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.addr}, DisableCache: true})
		if err == nil {
			s.empty, err = s.info("memory", "used_memory")
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

// info returns a number that INFO tells, without its fraction.
func (s *server) info(section, name string) (int64, error) {
	text, err := s.client.Do(context.Background(), s.client.B().Info().Section(section).Build()).ToString()
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(text, "\n"+name+":")
	value, _, _ := strings.Cut(rest, "\r")
	f, err := strconv.ParseFloat(value, 64)
	return int64(f*1000) / 1000, err
}

func (s *server) cost() (disk, memory int64, err error) {
	used, err := s.info("memory", "used_memory")
	return 0, used - s.empty, err
}

// forget is not measured: the keys have hours to live.
func (s *server) forget() (time.Duration, error) { return 0, errors.ErrUnsupported }

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

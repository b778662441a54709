package servers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// A RabbitMQServer is a RabbitMQ node, with a port mapper of its own, so that it knows of no other
// node of this machine.
type RabbitMQServer struct {
	*Process
	Addr string // host:port
	Dir  string // where its files are
	URL  string // of the user guest, who may do everything

	epmd *Process
}

// rabbitmqDefaults are the settings of every server, before the test's own: it does not mind a disk
// that is nearly full.
var rabbitmqDefaults = []string{"disk_free_limit.absolute = 1MB", "log.console.level = warning"}

// StartRabbitMQ starts a server for several tests to share, since that takes some seconds. The
// settings are as in rabbitmq.conf, one each: "consumer_timeout = 60000". The caller must end it with
// [RabbitMQServer.Close].
func StartRabbitMQ(settings ...string) (*RabbitMQServer, error) {
	const tries = 5 // somebody else may take a port before the server does
	for try := 1; ; try++ {
		port := firstPort + rand.N(lastPort-firstPort)
		if !unused(port, []int{0, 1, 2}) {
			continue
		}
		s, err := startRabbitMQ(port, settings)
		if err == nil || try == tries {
			return s, err
		}
	}
}

func startRabbitMQ(port int, settings []string) (*RabbitMQServer, error) {
	programs, err := rabbitmqPrograms()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "once-rabbitmq-")
	if err != nil {
		return nil, err
	}
	conf := append([]string{fmt.Sprintf("listeners.tcp.1 = 127.0.0.1:%d", port)}, rabbitmqDefaults...)
	conf = append(conf, settings...)
	path := filepath.Join(dir, "rabbitmq.conf")
	if err := os.WriteFile(path, []byte(strings.Join(conf, "\n")+"\n"), 0o666); err != nil {
		return nil, err
	}
	s := &RabbitMQServer{
		Addr: local(port), Dir: dir, URL: fmt.Sprintf("amqp://guest:guest@127.0.0.1:%d/", port),
		epmd: &Process{
			name: fmt.Sprintf("epmd-%d", port+2), logPath: filepath.Join(dir, "epmd.log"),
			command: func() *exec.Cmd {
				return exec.Command(programs.epmd, "-address", "127.0.0.1", "-port", strconv.Itoa(port+2))
			},
		},
	}
	s.Process = &Process{
		name: fmt.Sprintf("rabbitmq-%d", port), logPath: filepath.Join(dir, "rabbitmq.log"),
		command: func() *exec.Cmd { return rabbitmqCommand(programs.server, dir, port) },
	}
	err = s.epmd.start(func() error {
		conn, err := net.DialTimeout("tcp", local(port+2), patience)
		if err == nil {
			conn.Close()
		}
		return err
	})
	if err == nil {
		err = s.start(s.ready)
	}
	if err != nil {
		s.Close()
	}
	return s, err
}

// rabbitmqCommand runs a node whose files, and whose cookie, are in dir.
func rabbitmqCommand(program, dir string, port int) *exec.Cmd {
	cmd := exec.Command(program)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"HOME="+dir,
		"LC_ALL=C.UTF-8",
		"RUNNING_UNDER_SYSTEMD=true", // or a shell is between this process and the node
		"NOTIFY_SOCKET=",
		"ERL_EPMD_PORT="+strconv.Itoa(port+2),
		"ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_CONF_ENV_FILE=/dev/null",
		fmt.Sprintf("RABBITMQ_NODENAME=once%d@localhost", port),
		"RABBITMQ_DIST_PORT="+strconv.Itoa(port+1),
		"RABBITMQ_CONFIG_FILE="+filepath.Join(dir, "rabbitmq.conf"),
		"RABBITMQ_ADVANCED_CONFIG_FILE="+filepath.Join(dir, "advanced.config"),
		"RABBITMQ_ENABLED_PLUGINS_FILE="+filepath.Join(dir, "enabled_plugins"),
		"RABBITMQ_MNESIA_BASE="+filepath.Join(dir, "mnesia"),
		"RABBITMQ_LOG_BASE="+filepath.Join(dir, "log"),
		"RABBITMQ_LOGS=-",
		"RABBITMQ_PID_FILE="+filepath.Join(dir, "pid"),
		// Schedulers do not wait busily, at the cost of the tests, and channels look every second, in place
		// of every minute, if a consumer has taken longer than its timeout.
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=+sbwt none +sbwtdcpu none +sbwtdio none -rabbit channel_tick_interval 1000",
	)
	return cmd
}

// ready reports whether the server greets clients: the first that it says is the method
// connection.start, in a frame of type 1 (AMQP 0-9-1, 2.2.4 and 4.2.3).
func (s *RabbitMQServer) ready() error {
	conn, err := net.DialTimeout("tcp", s.Addr, patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, "AMQP\x00\x00\x09\x01"); err != nil {
		return err
	}
	var start [11]byte
	if _, err := io.ReadFull(conn, start[:]); err != nil {
		return err
	}
	if start[0] != 1 || !bytes.Equal(start[7:], []byte{0, 10, 0, 10}) {
		return errors.New("it does not speak AMQP 0-9-1")
	}
	return nil
}

// Restart starts the server again after [Process.Kill] or [Process.Stop], with the same settings
// and files, on the same port.
func (s *RabbitMQServer) Restart(t testing.TB) {
	t.Helper()
	if err := s.start(s.ready); err != nil {
		t.Fatal(err)
	}
}

// Close ends the server and removes its files.
func (s *RabbitMQServer) Close() {
	s.Kill()
	s.epmd.Kill()
	os.RemoveAll(s.Dir)
}

type rabbitmqPaths struct{ server, epmd string }

// rabbitmqPrograms finds the programs. Debian's rabbitmq-server in PATH becomes another user; the
// one behind it does not need to.
func rabbitmqPrograms() (rabbitmqPaths, error) {
	var p rabbitmqPaths
	for _, want := range []struct {
		path     *string
		patterns []string
	}{
		{&p.server, []string{"/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server"}},
		{&p.epmd, []string{"epmd", "/usr/lib/erlang/erts-*/bin/epmd"}},
	} {
		for _, pattern := range want.patterns {
			found, _ := filepath.Glob(pattern)
			for _, name := range append(found, pattern) {
				if path, err := exec.LookPath(name); err == nil && *want.path == "" {
					*want.path = path
				}
			}
		}
		if *want.path == "" {
			return p, fmt.Errorf("servers: %s is not installed; install all servers that the tests need with: make servers",
				filepath.Base(want.patterns[0]))
		}
	}
	return p, nil
}

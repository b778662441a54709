package main

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

type server struct {
	addr string
	dir  string
	cmd  *exec.Cmd
}

// start starts a server on a port that is free, in a temporary folder.
func start(program, appendfsync string) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	addr := l.Addr().String()
	l.Close()
	dir, err := os.MkdirTemp("", "once-redis-")
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	args := []string{"--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", ""}
	if appendfsync != "" {
		args = append(args, "--appendonly", "yes", "--appendfsync", appendfsync)
	}
	s := &server{addr: addr, dir: dir, cmd: exec.Command(program, args...)}
	if err := s.cmd.Start(); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
			return s, nil
		}
		if time.Now().After(deadline) {
			s.stop()
			return nil, fmt.Errorf("the server does not start: %w", err)
		}
	}
}

func (s *server) stop() {
	s.cmd.Process.Kill()
	s.cmd.Wait()
	os.RemoveAll(s.dir)
}

// monitor calls fn while the server says which commands it gets (MONITOR), and returns them.
func monitor(addr string, fn func() error) ([][]string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "MONITOR\r\n")
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, 1<<20)
	lines.Scan() // +OK
	if err := fn(); err != nil {
		return nil, err
	}
	const last = "the end"
	end, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	defer end.Close()
	fmt.Fprintf(end, "ECHO %q\r\n", last)
	var all [][]string
	for lines.Scan() {
		args, err := unquote(lines.Text())
		if err != nil {
			return nil, err
		}
		if args[len(args)-1] == last {
			return all, nil
		}
		all = append(all, args)
	}
	return nil, fmt.Errorf("MONITOR ended: %w", lines.Err())
}

// unquote reads the arguments of a line such as
//
//	+1700000000.123456 [0 127.0.0.1:1234] "GET" "key\x00"
func unquote(line string) ([]string, error) {
	_, rest, _ := strings.Cut(line, "] ")
	var args []string
	for rest != "" {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return nil, fmt.Errorf("MONITOR said %q: %w", line, err)
		}
		arg, err := strconv.Unquote(quoted)
		if err != nil {
			return nil, fmt.Errorf("MONITOR said %q: %w", line, err)
		}
		args = append(args, arg)
		rest = strings.TrimPrefix(rest[len(quoted):], " ")
	}
	if len(args) == 0 {
		return nil, fmt.Errorf("MONITOR said %q", line)
	}
	return args, nil
}

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/oncehq/once/bench/load"
	"github.com/oncehq/once/store/onceredis"
)

func openRedis(addr string) (*onceredis.Store, error) {
	return onceredis.Open(context.Background(), onceredis.Config{DSN: "redis://" + addr})
}

// startWithRedis starts a Redis that keeps nothing on disk, and a server over it.
func startWithRedis(stops *[]func(), self, name string) (server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return server{}, err
	}
	addr := l.Addr().String()
	l.Close()
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command("redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "",
		"--appendonly", "no", "--dir", os.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return server{}, err
	}
	*stops = append(*stops, func() { cmd.Process.Kill(); cmd.Wait() })
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := ask(addr, "PING"); err == nil {
			break
		} else if time.Now().After(deadline) {
			return server{}, fmt.Errorf("redis-server does not start: %w", err)
		}
	}
	s, err := startProcess(stops, self, "serve", name, addr)
	s.pids, s.redis = append(s.pids, cmd.Process.Pid), addr
	return s, err
}

// ask sends a Redis a command and returns its answer.
func ask(addr, command string) (string, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(conn, "%s\r\n", command)
	r := bufio.NewReader(conn)
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSpace(line)
	switch line[0] {
	case '+':
		return line[1:], nil
	case '$':
		n, err := strconv.Atoi(line[1:])
		if err != nil {
			return "", err
		}
		text := make([]byte, n)
		_, err = io.ReadFull(r, text)
		return string(text), err
	}
	return "", errors.New(line)
}

// printCommands tells which commands the servers' Redis got for a request, by its own statistics
// (INFO commandstats). Those that a script calls are counted there too, but are no round trips.
func printCommands(servers []server) error {
	const requests = 500
	for _, s := range servers {
		if s.redis == "" {
			continue
		}
		conn, err := load.Dial(s.addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		for _, kind := range kinds {
			if _, err := ask(s.redis, "CONFIG RESETSTAT"); err != nil {
				return err
			}
			for i := range requests {
				a, err := conn.Do(load.Plan{Body: requestBody()}, "count-"+strconv.Itoa(i))
				if err != nil || a.Status != 200 {
					return fmt.Errorf("%s: status %d: %w", s.name, a.Status, err)
				}
			}
			stats, err := ask(s.redis, "INFO commandstats")
			if err != nil {
				return err
			}
			fmt.Printf("%s, %s: commands a request: %s\n", s.name, kind, perRequest(stats, requests))
		}
	}
	return nil
}

// perRequest reads lines such as "cmdstat_get:calls=1000,usec=…".
func perRequest(stats string, requests int) string {
	var told []string
	for line := range strings.Lines(stats) {
		name, rest, found := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		calls, _, _ := strings.Cut(rest, ",")
		n, err := strconv.Atoi(calls)
		if found && err == nil && !strings.HasPrefix(name, "config") {
			told = append(told, fmt.Sprintf("%s %.2f", name, float64(n)/float64(requests)))
		}
	}
	slices.Sort(told)
	return strings.Join(told, ", ")
}

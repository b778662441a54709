package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oncehq/once/internal/servers"
)

// A rabbit is the server that all cells share.
type rabbit struct {
	*servers.RabbitMQServer

	mu     sync.Mutex // held while the server is asked
	asked  time.Time
	queues map[string]int
}

// startRabbit starts the server, and returns a function that waits until it is ready.
func startRabbit() func() (*rabbit, error) {
	var (
		r     rabbit
		err   error
		ready = make(chan struct{})
	)
	go func() {
		defer close(ready)
		r.RabbitMQServer, err = servers.StartRabbitMQ()
	}()
	return func() (*rabbit, error) {
		<-ready
		return &r, err
	}
}

// messages returns how many messages are in the queue, with those that are delivered and not
// acknowledged. A client is not told that; so the server's own tool is asked, at one time for
// all who want to know.
func (r *rabbit) messages(ctx context.Context, queue string) (int, error) {
	wanted := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.asked.Before(wanted) {
		r.asked = time.Now()
		queues, err := r.list(ctx)
		if err != nil {
			return 0, err
		}
		r.queues = queues
	}
	n, there := r.queues[queue]
	if !there {
		return 0, fmt.Errorf("rabbitmqctl does not list queue %s", queue)
	}
	return n, nil
}

// list asks rabbitmqctl, the one that becomes no other user, who could not read the node's cookie.
func (r *rabbit) list(ctx context.Context) (map[string]int, error) {
	_, text, _ := strings.Cut(r.Addr, ":")
	port, err := strconv.Atoi(text)
	if err != nil {
		return nil, err
	}
	program := "/usr/lib/rabbitmq/bin/rabbitmqctl"
	if _, err := os.Stat(program); err != nil {
		program = "rabbitmqctl"
	}
	var printed bytes.Buffer
	cmd := exec.CommandContext(ctx, program, "--quiet", "--node", fmt.Sprintf("once%d@localhost", port),
		"list_queues", "--no-table-headers", "name", "messages")
	cmd.Env = append(os.Environ(), "HOME="+r.Dir, "LC_ALL=C.UTF-8", "ERL_EPMD_PORT="+strconv.Itoa(port+2),
		"RABBITMQ_CONF_ENV_FILE=/dev/null", "RABBITMQ_MNESIA_BASE="+filepath.Join(r.Dir, "mnesia"))
	cmd.Stderr = &printed
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("rabbitmqctl: %w; it printed:\n%s", err, printed.String())
	}
	queues := map[string]int{}
	for line := range strings.Lines(string(out)) {
		if name, number, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok {
			if queues[name], err = strconv.Atoi(number); err != nil {
				return nil, fmt.Errorf("rabbitmqctl printed %q", line)
			}
		}
	}
	return queues, nil
}

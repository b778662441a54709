package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofiber/fiber/v3"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncedisk"
	"github.com/oncehq/once/oncehttp"
	"github.com/oncehq/once/oncemem"
)

// A server is a process that is measured, and the Redis of its own that it may have.
type server struct {
	name, addr string
	pids       []int
	redis      string // address; empty: none
}

// cpu returns the processor time that the processes have taken, from /proc (proc_pid_stat(5),
// fields 14 and 15, in ticks of 10 ms).
func (s server) cpu() time.Duration {
	var ticks int
	for _, pid := range s.pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return 0
		}
		_, rest, _ := bytes.Cut(text, []byte(") "))
		for _, f := range strings.Fields(string(rest))[11:13] {
			n, _ := strconv.Atoi(f)
			ticks += n
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// start starts the named servers, and before them what they need.
func start(names []string) (servers []server, stop func(), err error) {
	dir, err := os.MkdirTemp("", "once-bench-")
	if err != nil {
		return nil, nil, err
	}
	var stops []func()
	cleanUp := func() {
		for _, s := range stops {
			s()
		}
		os.RemoveAll(dir)
	}
	defer func() {
		if err != nil {
			cleanUp()
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	var upstream server
	for _, name := range names {
		var s server
		switch {
		case name == "proxy":
			if upstream, err = startProcess(&stops, self, "serve", "bare"); err == nil {
				s, err = startProcess(&stops, self, "serve", "proxy", upstream.addr)
			}
		case strings.HasPrefix(name, "gateway-"):
			s, err = startGateway(&stops, dir, strings.TrimPrefix(name, "gateway-"), upstream.addr)
		case strings.HasSuffix(name, "-redis"):
			s, err = startWithRedis(&stops, self, name)
		default:
			s, err = startProcess(&stops, self, "serve", name, filepath.Join(dir, name))
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		s.name = name
		servers = append(servers, s)
	}
	return servers, cleanUp, nil
}

// startProcess starts a process that prints its address in its first line.
func startProcess(stops *[]func(), name string, args ...string) (server, error) {
	cmd := exec.Command(name, args...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return server{}, err
	}
	if err := cmd.Start(); err != nil {
		return server{}, err
	}
	*stops = append(*stops, func() { cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return server{}, fmt.Errorf("did not start: %w", err)
	}
	return server{addr: strings.TrimSpace(line), pids: []int{cmd.Process.Pid}}, nil
}

// startGateway builds the real binary, as it is released, and starts it in front of the upstream.
func startGateway(stops *[]func(), dir, store, upstream string) (server, error) {
	binary := filepath.Join(dir, "once")
	if _, err := os.Stat(binary); errors.Is(err, os.ErrNotExist) {
		if out, err := exec.Command("go", "build", "-tags", "grpcnotrace", "-o", binary, "github.com/oncehq/once/cmd/once").CombinedOutput(); err != nil {
			return server{}, fmt.Errorf("go build: %w: %s", err, out)
		}
	}
	dsn := "memory:"
	if store == "disk" {
		dsn = "disk:" + filepath.Join(dir, "gateway-store")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return server{}, err
	}
	addr := l.Addr().String()
	l.Close()
	cmd := exec.Command(binary, "serve", "--listen", addr, "--upstream", "http://"+upstream, "--store", dsn,
		"--scope", "shared", "--in-doubt", "rerun", "--wait", "10s", "--admin", "off")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	logFile, err := os.Create(filepath.Join(dir, store+".log"))
	if err != nil {
		return server{}, err
	}
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if err := cmd.Start(); err != nil {
		return server{}, err
	}
	*stops = append(*stops, func() { cmd.Process.Kill(); cmd.Wait(); logFile.Close() })
	for range 200 {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return server{addr: addr, pids: []int{cmd.Process.Pid}}, nil
		}
		time.Sleep(25 * time.Millisecond)
	}
	text, _ := os.ReadFile(logFile.Name())
	return server{}, fmt.Errorf("gateway did not start: %s", text)
}

// serve is one of the measured processes.
func serve(kind string, args []string) {
	service, err := service(kind, args)
	if err != nil {
		log.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(l.Addr())
	log.Fatal(service(l))
}

// service returns what answers those who connect to a listener.
func service(kind string, args []string) (func(net.Listener) error, error) {
	if strings.HasPrefix(kind, "fiber") || strings.HasPrefix(kind, "oncefiber") {
		app, err := fiberApp(kind, args[0])
		return func(l net.Listener) error {
			return app.Listener(l, fiber.ListenConfig{DisableStartupMessage: true})
		}, err
	}
	h, err := handler(kind, args)
	return func(l net.Listener) error { return http.Serve(l, h) }, err
}

func handler(kind string, args []string) (http.Handler, error) {
	switch kind {
	case "bare":
		return answer(), nil
	case "memory":
		return guarded(&oncemem.Store{MaxRecords: 1 << 30, MaxBytes: 1 << 40})
	case "disk":
		s, err := oncedisk.Open(oncedisk.Config{Dir: args[0]})
		if err != nil {
			return nil, err
		}
		return guarded(s)
	case "once-redis":
		s, err := openRedis(args[0])
		if err != nil {
			return nil, err
		}
		return guarded(s)
	case "proxy":
		return proxy(args[0]), nil
	}
	return nil, fmt.Errorf("unknown server %q", kind)
}

// answer is the handler that is guarded: it reads 500 bytes of JSON and answers with 1 KiB that is
// different every time.
func answer() http.Handler {
	var next answers
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(next.body())
	})
}

// answers are bodies of 1 KiB, each with a number of its own.
type answers struct{ made atomic.Int64 }

func (a *answers) body() []byte {
	b := make([]byte, 0, 1024)
	b = fmt.Appendf(b, `{"run":"%016d","filler":"`, a.made.Add(1))
	b = append(b, filler...)
	return append(b, `"}`...)
}

var filler = strings.Repeat("y", 1024-40)

func guarded(s once.Store) (http.Handler, error) {
	cfg, err := guardedBy(s)
	if err != nil {
		return nil, err
	}
	m, err := oncehttp.New(cfg)
	if err != nil {
		return nil, err
	}
	return m.Wrap(answer()), nil
}

func guardedBy(s once.Store) (oncehttp.Config, error) {
	g, err := once.New(once.Config{Store: s, InDoubt: once.Rerun, Wait: 10 * time.Second})
	return oncehttp.Config{Guard: g, DangerouslyShareKeys: true}, err
}

// proxy is httputil.ReverseProxy as fast as its knobs make it: the default Transport keeps two
// connections to a host and is several times slower.
func proxy(upstream string) http.Handler {
	u := &url.URL{Scheme: "http", Host: upstream}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) },
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, addr)
			},
			MaxIdleConns: 1024, MaxIdleConnsPerHost: 512, DisableCompression: true,
		},
		BufferPool: pool{make(chan []byte, 256)},
	}
}

type pool struct{ c chan []byte }

func (p pool) Get() []byte {
	select {
	case b := <-p.c:
		return b
	default:
		return make([]byte, 32<<10)
	}
}

func (p pool) Put(b []byte) {
	select {
	case p.c <- b:
	default:
	}
}

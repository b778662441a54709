package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Names of the hidden commands that the helper processes run.
const (
	ServiceCommand = "demo-service"
	GatewayCommand = "demo-gateway"
)

// UntilParentEnds calls end when the parent process is gone: it holds the other end of stdin.
func UntilParentEnds(stdin io.Reader, end func()) {
	go func() {
		io.Copy(io.Discard, stdin)
		end()
	}()
}

// A process is a helper process, which can be killed and started again.
type process struct {
	args  []string
	ready func(context.Context, *bufio.Reader) error // told by its standard error
	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{} // closed when its output has ended
	kills int
}

func (p *process) start(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p.cmd = exec.Command(self, p.args...)
	// Settings of the user's own gateway are not for this one.
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "ONCE_") {
			p.cmd.Env = append(p.cmd.Env, v)
		}
	}
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	out := bufio.NewReader(stderr)
	err = p.ready(ctx, out)
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		io.Copy(io.Discard, out)
	}()
	if err != nil {
		p.kill()
		return fmt.Errorf("%s: %w", p.args[0], err)
	}
	return nil
}

// kill is kill -9: the process cannot tidy up anything.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Kill()
	<-p.done
	p.cmd.Wait() // it says that the process was killed
	p.stdin.Close()
	p.cmd = nil
	p.kills++
}

// freeAddress returns an address that nobody listens on now, and that the system gives to nobody
// by itself while the process that listened there is dead.
func freeAddress() (string, error) {
	for try := 0; ; try++ {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 15000+rand.IntN(15000)))
		if err == nil {
			return l.Addr().String(), l.Close()
		}
		if try == 100 {
			return "", err
		}
	}
}

func newService(dir string) (*process, string, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	return &process{
		args:  []string{ServiceCommand, addr, ledgerPath(dir)},
		ready: func(ctx context.Context, _ *bufio.Reader) error { return answers(ctx, "http://"+addr+"/charges") },
	}, "http://" + addr, nil
}

func ledgerPath(dir string) string { return filepath.Join(dir, "ledger.jsonl") }

// answers waits until somebody answers at the URL.
func answers(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			return resp.Body.Close()
		}
		if ctx.Err() != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func storePath(dir string) string { return filepath.Join(dir, "store") }

// newGateway is once serve, with the settings that somebody in front of a service that does not
// know about retries would choose.
func newGateway(dir, service string) (*process, string, error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	return &process{
		args: []string{GatewayCommand, "--listen", addr, "--admin", "off", "--upstream", service, "--store", "disk:" + storePath(dir),
			"--scope", "header:" + tenantField, "--in-doubt", "hold", "--wait", "300ms", "--lease", "1s", "--upstream-timeout", "5s"},
		ready: serving,
	}, "http://" + addr, nil
}

// serving reads the gateway's log up to the line that says that it serves.
func serving(_ context.Context, log *bufio.Reader) error {
	var said []string
	for {
		text, err := log.ReadString('\n')
		if err != nil {
			return errors.New(strings.Join(append(said, "it ended"), "; "))
		}
		var line struct{ Msg string }
		if json.Unmarshal([]byte(text), &line) == nil && line.Msg == "serving" {
			return nil
		}
		said = append(said, strings.TrimSpace(text))
	}
}

package gateway_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/oncehq/once/examples/internal/smoke"
)

func TestExample(t *testing.T) {
	t.Parallel()
	gateway := smoke.Build(t, "github.com/oncehq/once/cmd/once")
	t.Run("ComposedCommandsChargeOnce", func(t *testing.T) { composed(t, gateway) })
	t.Run("ScriptChargesOnceAsPrinted", func(t *testing.T) { scripted(t, gateway) })
}

// chargedOnce does what is printed: twice the same charge, and a look at the ledger.
func chargedOnce(t *testing.T, cmd []string) {
	t.Helper()
	if len(cmd) < 3 {
		t.Fatalf("there are too few commands: %q", cmd)
	}
	first, again := smoke.Curl(t, cmd[0]), smoke.Curl(t, cmd[1])
	if first.Status != 201 || first.Replayed || again.Status != 201 || !again.Replayed || again.Body != first.Body {
		t.Errorf("got %+v, then %+v", first, again)
	}
	charges(t, cmd[2], 1)
	// A stranger who has seen the key is given nothing.
	if a := smoke.Curl(t, strings.Replace(cmd[0], "alice:a1", "alice:guess", 1)); a.Status != 401 || a.Replayed {
		t.Errorf("a stranger: %+v", a)
	}
	charges(t, cmd[2], 1)
}

func charges(t *testing.T, list string, want int) {
	t.Helper()
	if a := smoke.Curl(t, list); a.Status != 200 || strings.Count(a.Body, `"number"`) != want {
		t.Errorf("got %+v, want %d charges", a, want)
	}
}

func scripted(t *testing.T, gateway string) {
	dir, script := t.TempDir(), absolute(t, "run.sh")
	p := start(t, dir, script, gateway)
	cmd := p.Commands(t, 4)
	chargedOnce(t, cmd)
	// The service alone charges each time: it is the gateway that does not.
	smoke.Curl(t, cmd[3])
	smoke.Curl(t, cmd[3])
	charges(t, cmd[2], 3)
	p.Interrupt(t)

	cmd = start(t, dir, script, gateway).Commands(t, 3)
	if again := smoke.Curl(t, cmd[0]); !again.Replayed {
		t.Errorf("after a restart: %+v", again)
	}
	charges(t, cmd[2], 3)
}

// start runs the script on ports of its own, and returns when the gateway and the service listen.
func start(t *testing.T, dir, script, gateway string) *smoke.Program {
	t.Helper()
	env := look(t, "env")
	p := smoke.Start(t, dir, env, "ONCE="+gateway, "LISTEN="+unused(t), "SERVICE="+unused(t), "sh", script)
	p.Printed(t, `msg=serving`)
	p.Printed(t, `the service is on http`)
	return p
}

// unused returns an address that nobody listens on, below the ports that the system gives to
// others by itself.
func unused(t *testing.T) string {
	t.Helper()
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 22_000+rand.N(10_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free")
	return ""
}

func look(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%v; install all that the tests need with: make servers", err)
	}
	return path
}

func absolute(t *testing.T, file string) string {
	t.Helper()
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

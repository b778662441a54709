package gateway_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/oncehq/once/examples/internal/smoke"
	"github.com/oncehq/once/internal/servers"
)

// A compose is what is used of the Compose Specification.
type compose struct {
	Services map[string]service
	Volumes  map[string]any
}

type service struct {
	Image       string
	Build       build
	Command     []string
	Environment map[string]string
	Volumes     []string
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	HealthCheck struct{ Test []string }               `yaml:"healthcheck"`
}

// A build is a folder, or says more.
type build struct{ Context, Dockerfile string }

func (b *build) UnmarshalYAML(text []byte) error {
	if err := yaml.Unmarshal(text, &b.Context); err == nil {
		return nil
	}
	type plain build
	return yaml.Unmarshal(text, (*plain)(b))
}

func readCompose(t *testing.T) (c compose, text string) {
	t.Helper()
	b, err := os.ReadFile("compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c, string(b)
}

func TestComposeFileHoldsTogether(t *testing.T) {
	t.Parallel()
	c, text := readCompose(t)
	for name, s := range c.Services {
		if (s.Image == "") == (s.Build.Context == "") {
			t.Errorf("%s: want either an image or something to build", name)
		}
		if s.Build.Context != "" {
			file := filepath.Join(s.Build.Context, s.Build.Dockerfile)
			if s.Build.Dockerfile == "" {
				file = filepath.Join(file, "Dockerfile")
			}
			copied(t, s.Build.Context, file)
		}
		for other, on := range s.DependsOn {
			if _, ok := c.Services[other]; !ok {
				t.Errorf("%s depends on %s, which is not there", name, other)
			}
			if on.Condition == "service_healthy" && len(c.Services[other].HealthCheck.Test) == 0 {
				t.Errorf("%s waits for the health of %s, which is not checked", name, other)
			}
		}
		for _, v := range s.Volumes {
			if volume, _, _ := strings.Cut(v, ":"); !has(c.Volumes, volume) {
				t.Errorf("%s: there is no volume %s", name, volume)
			}
		}
	}
	// Whom the gateway connects to is there, by that name.
	hosts := regexp.MustCompile(`(?m)--\w+=\w+://(\w+):\d+`).FindAllStringSubmatch(text, -1)
	if len(hosts) != 2 {
		t.Errorf("got %q, want the service and Redis", hosts)
	}
	for _, host := range hosts {
		if _, ok := c.Services[host[1]]; !ok {
			t.Errorf("there is no service %s", host[1])
		}
	}
}

// copied expects what a Dockerfile copies from its context.
func copied(t *testing.T, context, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, from := range regexp.MustCompile(`(?m)^COPY (\S+) `).FindAllStringSubmatch(string(text), -1) {
		if _, err := os.Stat(filepath.Join(context, from[1])); err != nil && from[1] != "--from=build" {
			t.Errorf("%s copies %s: %v", file, from[1], err)
		}
	}
}

func has(volumes map[string]any, name string) bool {
	_, ok := volumes[name]
	return ok
}

// composed runs the commands of the compose file as they are, but for the addresses; Redis with the
// same settings. Then it does what the file's comment says.
func composed(t *testing.T, gateway string) {
	c, text := readCompose(t)
	help, _ := smoke.Run(t, t.TempDir(), gateway, "serve", "--help")
	for _, arg := range c.Services["gateway"].Command[1:] {
		if flag, _, _ := strings.Cut(arg, "="); !strings.Contains(help, "\n  "+flag+" ") {
			t.Errorf("once serve --help does not know %s", flag)
		}
	}
	command := c.Services["redis"].Command
	if command[0] != "redis-server" || len(command)%2 != 1 {
		t.Fatalf("redis: %q", command)
	}
	var settings []string
	for i := 1; i < len(command); i += 2 {
		settings = append(settings, strings.TrimPrefix(command[i], "--")+" "+command[i+1])
	}
	redis := servers.Redis(t, settings...)

	command = replaced(t, c.Services["service"].Command, "0.0.0.0:9000", "127.0.0.1:0",
		"service.py", absolute(t, "service.py"), "/data/", "")
	dir := t.TempDir()
	upstream := smoke.Start(t, dir, look(t, command[0]), command[1:]...)
	url := upstream.Printed(t, `the service is on (http://\S+)`)[1]

	secret := c.Services["gateway"].Environment["SCOPE_SECRET"]
	secret = strings.TrimSuffix(strings.TrimPrefix(secret, "${SCOPE_SECRET:-"), "}")
	command = replaced(t, c.Services["gateway"].Command, "0.0.0.0:8080", "127.0.0.1:0", "http://service:9000", url,
		"redis:6379", redis.Addr, "env:SCOPE_SECRET", "file:secret")
	if err := os.WriteFile(filepath.Join(dir, "secret"), []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	front := smoke.Start(t, dir, gateway, append(command, "--admin=off")...)
	addr := front.Printed(t, `"listen":"([^"]+)"`)[1]
	var lines []string
	for _, line := range regexp.MustCompile(`(?m)^#   (curl .*)$`).FindAllStringSubmatch(text, -1) {
		lines = append(lines, strings.Replace(line[1], "127.0.0.1:8080", addr, 1))
	}
	chargedOnce(t, lines)
	front.Interrupt(t)
	upstream.Interrupt(t)
}

// replaced replaces, in a command, each of the old texts, which must occur once.
func replaced(t *testing.T, command []string, pairs ...string) []string {
	t.Helper()
	text := strings.Join(command, "\n")
	for i := 0; i < len(pairs); i += 2 {
		if strings.Count(text, pairs[i]) != 1 {
			t.Fatalf("%q is not once in %q", pairs[i], command)
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return strings.Split(text, "\n")
}

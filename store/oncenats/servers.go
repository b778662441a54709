package oncenats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// servers are what those of Config.Monitor say of themselves.
type servers []server

type server struct {
	monitor string
	err     error // it could not be asked

	Name      string `json:"server_name"`
	Version   string `json:"version"`
	JetStream struct {
		Config struct {
			SyncInterval time.Duration `json:"sync_interval"`
			SyncAlways   bool          `json:"sync_always"`
		} `json:"config"`
	} `json:"jetstream"`
}

// askServers asks the servers by HTTP, on the port of their monitoring (monitor_port, -m), since
// nothing else tells an ordinary user when they sync.
func askServers(ctx context.Context, monitors []string) servers {
	all := make(servers, len(monitors))
	for i, address := range monitors {
		all[i].monitor = address
		all[i].err = all[i].ask(ctx)
	}
	return all
}

func (s *server) ask(ctx context.Context) error {
	const most = 1 << 20
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(s.monitor, "/")+"/varz", nil)
	if err != nil {
		return errors.New("oncenats: Monitor has an address that is none; write http://host:8222")
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("oncenats: monitoring answers %s", answer.Status)
	}
	return json.NewDecoder(io.LimitReader(answer.Body, most)).Decode(s)
}

// durable reports whether all the servers that keep the stream sync each write before they
// acknowledge it, and if not what to change.
func (all servers) durable(d stream) (bool, string) {
	const fix = "; set sync_interval to always in its block jetstream"
	if len(all) == 0 {
		return false, "It is not known when records reach the disk; by default NATS syncs every two minutes. Set " +
			"sync_interval to always in the servers' block jetstream, and Config.Monitor (monitor=) to have it looked at."
	}
	var names []string
	for _, s := range all {
		if s.err != nil {
			return false, fmt.Sprintf("The monitoring at %s cannot be asked: %v.", s.monitor, s.err)
		}
		if c := s.JetStream.Config; !c.SyncAlways {
			return false, fmt.Sprintf("Server %s syncs every %v only: all that it acknowledged since is lost with the power%s.",
				s.Name, c.SyncInterval, fix)
		}
		names = append(names, s.Name)
	}
	for _, peer := range d.peers() {
		if !slices.Contains(names, peer) {
			return false, fmt.Sprintf("Server %s keeps the stream too, and it is not known when it syncs; "+
				"name its monitoring in Config.Monitor (monitor=).", peer)
		}
	}
	return true, ""
}

// Command node is a NATS server for tests, in a process of its own, which can be killed and paused. It
// is built without the race detector, with which servers are several times slower.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

func main() {
	if err := serve(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve runs the server of this configuration until standard input ends, as it does when the parent
// does.
func serve(config string) error {
	var n struct {
		Name, Dir           string
		Port, Cluster, HTTP int
		Routes              []string // of all nodes of the cluster; none: there is no cluster
		Sync                bool     // always
		MaxPayload          int32
	}
	if err := json.Unmarshal([]byte(config), &n); err != nil {
		return err
	}
	o := &server.Options{
		ServerName: n.Name, Host: "127.0.0.1", Port: n.Port, HTTPHost: "127.0.0.1", HTTPPort: n.HTTP,
		JetStream: true, StoreDir: n.Dir, SyncAlways: n.Sync, NoSigs: true, MaxPayload: n.MaxPayload,
		LogFile: filepath.Join(n.Dir, "log"),
	}
	if len(n.Routes) > 0 {
		// Clients use the addresses that they were given, of proxies perhaps, and no others.
		o.Cluster = server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: n.Cluster, NoAdvertise: true}
		for _, r := range n.Routes {
			o.Routes = append(o.Routes, server.RoutesFromStr(r)...)
		}
	}
	s, err := server.NewServer(o)
	if err != nil {
		return err
	}
	s.ConfigureLogger()
	s.Start()
	if !s.ReadyForConnections(time.Minute) {
		return errors.New("not ready after a minute")
	}
	io.Copy(io.Discard, os.Stdin)
	s.Shutdown()
	return nil
}

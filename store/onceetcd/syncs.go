package onceetcd

import (
	"bufio"
	"context"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// syncing says whether a server writes to its disk before it acknowledges.
type syncing uint8

const (
	syncsUnknown syncing = iota
	syncsYes
	syncsNo
)

const (
	// nudges are the log entries that are made to see whether servers sync them. No two are on their
	// way at the same time, so that each is synced for itself.
	nudges = 8

	// fewSyncs are those of a server with --unsafe-no-fsync meanwhile: it syncs when it begins a new file,
	// every 64 MiB (storage/wal: cut).
	fewSyncs = 2

	syncRounds = 3
)

// findSyncs finds out which servers were started with --unsafe-no-fsync. None says so; but their
// metrics tell how often they have synced their log. So some leases are granted and given back, which
// changes nothing, but has to be in the log: a server that syncs has synced at least so often. One
// that has fallen behind gets several entries at once; so that it does not sync is believed after
// some rounds only.
func (c *cluster) findSyncs(ctx context.Context, client *clientv3.Client, cfg Config) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Timeout)
	defer cancel()
	few := make(map[int]int) // rounds in which a member synced hardly ever
	for range syncRounds {
		before := c.looks(ctx, client, cfg)
		if len(before) == 0 || nudge(ctx, client) != nil {
			return
		}
		after := c.looks(ctx, client, cfg)
		for i, is := range after {
			was, seen := before[i]
			switch n := is.syncs - was.syncs; {
			case !seen || is.entries < was.entries+nudges: // it has not written them yet
			case n >= nudges:
				c.members[i].syncs = syncsYes
			case n <= fewSyncs:
				few[i]++
			}
		}
	}
	for i, rounds := range few {
		if rounds == syncRounds {
			c.members[i].syncs = syncsNo
		}
	}
}

// nudge has entries written to the log.
func nudge(ctx context.Context, client *clientv3.Client) error {
	for range nudges / 2 {
		lease, err := client.Grant(ctx, 1)
		if err != nil {
			return err
		}
		if _, err := client.Revoke(ctx, lease.ID); err != nil {
			return err
		}
	}
	return nil
}

// A look at a server tells how often it has synced its log, and how many entries that had before.
type look struct{ syncs, entries uint64 }

// looks looks at the members of which it is not known whether they sync, and returns those that say it,
// by their index.
func (c *cluster) looks(ctx context.Context, client *clientv3.Client, cfg Config) map[int]look {
	all := make(map[int]look)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i, m := range c.members {
		if m.err != nil || m.syncs != syncsUnknown {
			continue
		}
		wg.Go(func() {
			status, err := client.Status(ctx, m.endpoint)
			if err != nil {
				return
			}
			if n, ok := countSyncs(ctx, cfg, m.endpoint); ok {
				mu.Lock()
				defer mu.Unlock()
				all[i] = look{n, status.RaftIndex}
			}
		})
	}
	wg.Wait()
	return all
}

// countSyncs reads from the server's metrics how often it has synced its log since it was started.
func countSyncs(ctx context.Context, cfg Config, endpoint string) (n uint64, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	transport := &http.Transport{TLSClientConfig: cfg.TLS.Clone(), DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"/metrics", nil)
	if err != nil {
		return 0, false
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return 0, false
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if text, found := strings.CutPrefix(lines.Text(), "etcd_disk_wal_fsync_duration_seconds_count "); found {
			count, err := strconv.ParseFloat(text, 64)
			return uint64(count), err == nil
		}
	}
	return 0, false
}

package onceredis

import (
	"cmp"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strconv"
	"strings"
	"time"

	"github.com/oncehq/once"
	"github.com/redis/rueidis"
)

// Defaults of [IDsConfig].
const (
	DefaultIDBuckets = 4
	DefaultIDLease   = time.Minute
	DefaultExpected  = 1 << 20
)

// IDsConfig says for how long ids are remembered. All who share them must use the same.
type IDsConfig struct {
	// Window is how long an id that is done is remembered at least. Required.
	Window time.Duration

	// Buckets is into how many the window is cut. An id is forgotten together with its bucket, up
	// to Window/Buckets later; a question looks into each. Defaults to [DefaultIDBuckets].
	Buckets int

	// Expected is about how many ids there will be in a window. It decides into how many hashes
	// the ids of a bucket are spread: Redis keeps small ones compactly. With far more ids each
	// takes several times the memory. Defaults to [DefaultExpected].
	Expected int64

	// Lease is how long a claim stands. It must be longer than dealing with a call's ids takes, for
	// it is not renewed: after that another claimant is given them. Defaults to [DefaultIDLease].
	Lease time.Duration
}

func (c IDsConfig) withDefaults() IDsConfig {
	c.Buckets = cmp.Or(c.Buckets, DefaultIDBuckets)
	c.Expected = cmp.Or(c.Expected, DefaultExpected)
	c.Lease = cmp.Or(c.Lease, DefaultIDLease)
	return c
}

func (c IDsConfig) check() error {
	var errs []error
	report := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("onceredis: ids: "+format, args...))
	}
	if c.Window <= 0 {
		report("Window is %v; say for how long copies can come, such as the broker's retention", c.Window)
	}
	if c.Buckets < 1 || c.Buckets > 100 {
		report("Buckets is %d; it must be from 1 to 100", c.Buckets)
	} else if c.Window > 0 && c.Window/time.Duration(c.Buckets) < time.Millisecond {
		report("Window is %v; a bucket must be at least a millisecond long", c.Window)
	}
	if c.Expected < 1 {
		report("Expected is %d; it must be positive", c.Expected)
	}
	if c.Lease < time.Millisecond {
		report("Lease is %v; it must be at least a millisecond", c.Lease)
	}
	return errors.Join(errs...)
}

// IDs is a [once.IDStore] in Redis. The ids that are done are fields of hashes, of which there are
// so many that each stays small, and that expire as a whole; claims are keys that expire with
// their lease. It takes one round trip for each call, in a Cluster one to each master at the same
// time.
//
// It does not wait for replicas: an id that a failover forgets is dealt with again.
type IDs struct {
	s       *Store
	cfg     IDsConfig
	parts   int
	head    string    // of the names of all keys
	layout  [3]string // what the scripts are told of it
	scripts [3]script // by idVerb
}

type idVerb int

const (
	claimIDs idVerb = iota
	completeIDs
	releaseIDs
)

var _ once.IDStore = (*IDs)(nil)

var (
	//go:embed ids_setup.lua
	idsSetupLua string
	//go:embed ids_claim.lua
	idsClaimLua string
	//go:embed ids_complete.lua
	idsCompleteLua string
	//go:embed ids_release.lua
	idsReleaseLua string
)

// clusterParts is into how many hash slots the ids are spread in a Cluster.
const clusterParts = 64

// idsPerHash is how many ids a hash is to have: well below the 128 up to which Redis keeps one
// compactly by default (hash-max-listpack-entries), for they are not spread evenly.
const idsPerHash = 64

// IDs returns the ids that are kept with the store's prefix, and makes them if there are none. It
// fails if they were made with another window, number of buckets or size: the ids that are there
// would not be found.
func (s *Store) IDs(ctx context.Context, cfg IDsConfig) (*IDs, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	ids := &IDs{s: s, cfg: cfg, parts: 1, head: "{" + s.cfg.Prefix + ":ids:"}
	if s.target.Mode == Cluster {
		ids.parts = clusterParts
	}
	hashes := max(cfg.Expected/int64(cfg.Buckets)/int64(ids.parts)/idsPerHash, 1)
	hashes = min(int64(1)<<bits.Len64(uint64(hashes-1)), 1<<24) // the next power of two
	length := (cfg.Window + time.Duration(cfg.Buckets) - 1) / time.Duration(cfg.Buckets)
	ids.layout = [3]string{
		strconv.FormatInt(millis(length), 10), strconv.Itoa(cfg.Buckets), strconv.FormatInt(hashes, 10),
	}
	for verb, text := range []string{idsClaimLua, idsCompleteLua, idsReleaseLua} {
		ids.scripts[verb] = newScript("ids", strings.Replace(text, "SETUP", idsSetupLua, 1))
	}
	return ids, ids.agree(ctx)
}

// agree makes sure that all use one layout.
func (ids *IDs) agree(ctx context.Context) error {
	ours := fmt.Sprintf("format 1, %s ms a bucket, %s buckets, %s hashes, %d parts",
		ids.layout[0], ids.layout[1], ids.layout[2], ids.parts)
	name := ids.head + "layout}"
	b := ids.s.client.B()
	if err := ids.s.usable(ctx); err != nil {
		return err
	}
	if err := ids.s.client.Do(ctx, b.Set().Key(name).Value(ours).Nx().Build()).Error(); err != nil && !rueidis.IsRedisNil(err) {
		return ids.s.explain("ids", err)
	}
	there, err := ids.s.client.Do(ctx, b.Get().Key(name).Build()).ToString()
	if err != nil {
		return ids.s.explain("ids", err)
	}
	if there != ours {
		return fmt.Errorf("onceredis: the ids of this prefix were made with another layout (%s; asked for: %s); "+
			"use the same Window, Buckets and Expected, or another Prefix", there, ours)
	}
	return nil
}

// digest returns 16 bytes for an id, and the part in which it is.
func (ids *IDs) digest(scope, id string) (d [idSize]byte, part int) {
	sum := once.Key{Scope: scope, ID: id}.Digest()
	copy(d[:], sum[:])
	// Bytes that are not in the digest, so that the ids of a part are spread over its hashes.
	return d, int(binary.BigEndian.Uint32(sum[sha256.Size-4:]) % uint32(ids.parts))
}

const idSize = 16

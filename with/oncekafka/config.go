package oncekafka

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncehq/once"
	"github.com/oncehq/once/oncemsg"
)

// Defaults of [Config].
const (
	DefaultBatch  = 100
	DefaultBuffer = 8192
	DefaultDrain  = 10 * time.Second
)

// A Config says how a member of a group consumes. Its functions are called by many goroutines at
// once.
type Config struct {
	// Options make the client: brokers, group, topics, security, timeouts. Aborted records are not
	// fetched, offsets are committed every second, and brokers answer a fetch within 250 ms, unless
	// the options say otherwise. They must not set the callbacks of partitions or
	// how to commit. Required.
	Options []kgo.Opt

	// Consumer decides what comes of a record. It may be given to several members. Required.
	Consumer *oncemsg.Consumer

	// Handler deals with one record, whose *kgo.Record is Message.Native. Required, unless
	// BatchHandler is set.
	Handler oncemsg.Handler

	// BatchHandler deals with many records of a partition at once, in their order. Those that it does
	// not succeed with are given to it again, after others have succeeded that came later. Required,
	// unless Handler is set.
	BatchHandler oncemsg.BatchHandler

	// Batch is how many records are claimed in one round trip, if the store can, and given to
	// BatchHandler. A crash leaves all of them in doubt. In mode InTransaction every record has a
	// transaction of its own, whatever it says. Defaults to [DefaultBatch], and to one if the guard's
	// policy is Hold, under which all of them would be dead-lettered.
	Batch int

	// Concurrency is how many records of one partition are handled at once. Above one, only
	// records with the same key keep their order. Defaults to one.
	Concurrency int

	// Buffer is how many records of one partition wait in memory before its fetching is paused, which
	// it is as well at 8 MiB. Defaults to [DefaultBuffer].
	Buffer int

	// IDHeader is the header in which producers name their records, such as the "id" of Debezium's
	// outbox. The name is unique within the topic. Defaults to [HeaderID].
	IDHeader string

	// DeadLetterTopic is where records go that another delivery does not help. They keep their key,
	// value and headers, to which a few are added: the topic must take more than those it comes from
	// (max.message.bytes), and so must the client (kgo.ProducerBatchMaxBytes, 1 MB by default), for
	// what it does not take holds up its partition. Required, unless the Consumer has a DeadLetter:
	// nothing may be dropped.
	DeadLetterTopic string

	// Drain is how long records being handled may take to finish when their partition is
	// revoked, or when the consumer stops. Then their contexts are done, and they have two seconds more. It
	// must be well below the group's rebalance timeout. Defaults to [DefaultDrain].
	Drain time.Duration
}

func (cfg Config) withDefaults() Config {
	if cfg.Batch == 0 {
		cfg.Batch = DefaultBatch
		if cfg.Consumer != nil && cfg.Consumer.Config().Guard.Config().InDoubt == once.Hold {
			cfg.Batch = 1
		}
	}
	if cfg.Concurrency == 0 {
		cfg.Concurrency = 1
	}
	if cfg.Buffer == 0 {
		cfg.Buffer = DefaultBuffer
	}
	if cfg.IDHeader == "" {
		cfg.IDHeader = HeaderID
	}
	if cfg.Drain == 0 {
		cfg.Drain = DefaultDrain
	}
	return cfg
}

// clientOptions are the caller's, with the defaults before them.
func (cfg Config) clientOptions() []kgo.Opt {
	return append([]kgo.Opt{
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// A fetch under way is not interrupted when a partition is resumed; so it must not last.
		kgo.FetchMaxWait(250 * time.Millisecond),
	}, cfg.Options...)
}

func (cfg Config) check(transactional bool) error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("oncekafka: config: "+format, args...))
	}
	if cfg.Consumer == nil {
		bad("Consumer is missing; make one with oncemsg.New")
	} else if cfg.DeadLetterTopic == "" && cfg.Consumer.Config().DeadLetter == nil {
		bad("DeadLetterTopic is missing, and the Consumer has no DeadLetter; name a topic, " +
			"or a record that cannot be handled stops its partition")
	}
	switch {
	case cfg.Handler == nil && cfg.BatchHandler == nil:
		bad("Handler is missing; set it or BatchHandler")
	case cfg.Handler != nil && cfg.BatchHandler != nil:
		bad("Handler and BatchHandler are both set; choose one")
	}
	for _, n := range []struct {
		name  string
		value int
	}{{"Batch", cfg.Batch}, {"Concurrency", cfg.Concurrency}, {"Buffer", cfg.Buffer}, {"Drain", int(cfg.Drain)}} {
		if n.value < 0 {
			bad("%s is negative; leave it at zero for the default", n.name)
		}
	}
	errs = append(errs, cfg.checkOptions(transactional))
	return errors.Join(errs...)
}

// checkOptions makes a client that consumes nothing, and asks it what it was told.
func (cfg Config) checkOptions(transactional bool) error {
	opts := append(cfg.clientOptions(), kgo.ConsumeTopics())
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("oncekafka: config: Options: %w", err)
	}
	defer cl.Close()
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("oncekafka: config: Options: "+format, args...))
	}
	if cl.OptValue(kgo.ConsumerGroup) == "" {
		bad("there is no group; add kgo.ConsumerGroup")
	}
	// Without a group the client refuses what only a group has: callbacks and ways to commit.
	if kgo.ValidateOpts(append(opts, kgo.ConsumerGroup(""))...) != nil {
		bad("there is a callback of partitions, or a way to commit; leave them out, they are this package's")
	}
	switch id := cl.OptValue(kgo.TransactionalID); {
	case transactional && id == "":
		bad("there is no transactional id; add kgo.TransactionalID, another one for each member")
	case !transactional && id != "":
		bad("there is a transactional id; use RunInTransactions, or leave it out")
	}
	if t, ok := cl.OptValue(kgo.RebalanceTimeout).(time.Duration); ok && cfg.Drain+graceTime >= t {
		bad("the rebalance timeout is %v and Drain %v, after which there are %v more; "+
			"a member that takes longer is thrown out", t, cfg.Drain, graceTime)
	}
	return errors.Join(errs...)
}

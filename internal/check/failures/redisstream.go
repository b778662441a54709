package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/oncehq/once/oncemsg"
	"github.com/oncehq/once/with/onceredisstream"
)

const redisGroup = "billing"

// redisStream is with/onceredisstream on a real server.
var redisStream = adapter{name: "Redis stream", open: openRedisStream, consume: consumeRedisStream}

// A redisBroker is a stream and its group.
type redisBroker struct {
	client rueidis.Client
	addr   string
	stream string
}

func openRedisStream(ctx context.Context, l *lab, cell string) (broker, error) {
	b := redisBroker{l.redisClient, l.redis.Addr, cell}
	return b, onceredisstream.CreateGroup(ctx, b.client, b.stream, redisGroup, "0")
}

func (b redisBroker) address() string { return b.addr }
func (b redisBroker) ready(string)    {}
func (b redisBroker) close()          {}

func (b redisBroker) send(ctx context.Context, m message) error {
	return b.client.Do(ctx, b.client.B().Xadd().Key(b.stream).Id("*").
		FieldValue().FieldValue(onceredisstream.FieldID, m.id).Build()).Error()
}

// replay has the group read from behind the first entry once more, which is victim.
func (b redisBroker) replay(ctx context.Context, m message) error {
	entries, err := b.client.Do(ctx, b.client.B().Xrange().Key(b.stream).Start("-").End("+").Count(1).Build()).AsXRange()
	if err != nil {
		return err
	}
	if len(entries) == 0 || entries[0].FieldValues[onceredisstream.FieldID] == m.id {
		return errors.New("the stream does not begin with another message")
	}
	return b.client.Do(ctx, b.client.B().XgroupSetid().Key(b.stream).Group(redisGroup).Id(entries[0].ID).Build()).Error()
}

// idle: everything was delivered, and everything delivered was acknowledged.
func (b redisBroker) idle(ctx context.Context) (bool, error) {
	stream, err := b.client.Do(ctx, b.client.B().XinfoStream().Key(b.stream).Build()).AsMap()
	if err != nil {
		return false, fmt.Errorf("XINFO STREAM: %w", err)
	}
	newest := stream["last-generated-id"]
	want, err := newest.ToString()
	if err != nil {
		return false, err
	}
	groups, err := b.client.Do(ctx, b.client.B().XinfoGroups().Key(b.stream).Build()).ToArray()
	if err != nil || len(groups) == 0 {
		return false, err
	}
	group, err := groups[0].AsMap()
	if err != nil {
		return false, err
	}
	delivered, pending := group["last-delivered-id"], group["pending"]
	got, err := delivered.ToString()
	n, err2 := pending.AsInt64()
	return got == want && n == 0, errors.Join(err, err2)
}

func consumeRedisStream(ctx context.Context, c *consumer) error {
	consumer, err := oncemsg.New(c.cfg)
	if err != nil {
		return err
	}
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{c.Broker}, DisableCache: true})
	if err != nil {
		return err
	}
	defer client.Close()
	return onceredisstream.Run(ctx, onceredisstream.Config{
		Client: client, Stream: c.Cell, Group: redisGroup, Consumer: consumer, Handler: c.handle,
		Concurrency: 4, Lease: c.BrokerLease,
	})
}

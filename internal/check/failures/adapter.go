package main

import (
	"context"
	"slices"
)

// An adapter is a broker and what consumes from it.
type adapter struct {
	name string

	// open makes what one cell needs of the broker, in the parent: it outlives the consumers.
	open func(ctx context.Context, l *lab, cell string) (broker, error)

	// consume is the consumer, in a process of its own, until ctx is done.
	consume func(ctx context.Context, c *consumer) error

	// resets: no consumer may be there when the broker is to deliver once more what was dealt with.
	resets bool

	// timeless: messages do not say when they were produced, so that none is too old.
	timeless bool
}

var adapters = []adapter{kafka, jetStream, amqp, redisStream, watermillRedis, cloudEvents, loop}

func adapterNamed(name string) (adapter, bool) {
	i := slices.IndexFunc(adapters, func(a adapter) bool { return a.name == name })
	if i < 0 {
		return adapter{}, false
	}
	return adapters[i], true
}

// A broker is what delivers the messages of one cell.
type broker interface {
	// address is what consumers need to find it.
	address() string

	// ready is told where a consumer receives, if the broker is one that calls.
	ready(where string)

	// send adds a message, or a copy of it as its producer sends it again.
	send(context.Context, message) error

	// replay delivers a message again that was dealt with long ago, with the time that it had.
	replay(context.Context, message) error

	// idle reports whether everything was dealt with.
	idle(context.Context) (bool, error)

	close()
}

// Package oncewatermill makes the handlers of a Watermill router handle each message once, on every
// broker that Watermill knows: a middleware over package oncemsg.
//
// A handler that fails is run again when the message is delivered again; one that has succeeded is
// not. What it produced is recorded together with that, and returned again, with the same UUIDs, for
// every copy of the message: the router publishes after its middlewares, and when that fails it
// asks for the message again. So a message is acknowledged when its outputs have been published,
// and nothing that was produced is lost. Watermill's own Deduplicator marks a message before it is
// handled: what fails at the first attempt is dropped at the second.
//
// A copy whose original is still being handled is not acknowledged: the middleware waits for as long
// as the original's lease runs, and asks for it again.
//
//	router.AddMiddleware(poison, once.Middleware) // in this order: poison gets what once gives up
//
// # Keys
//
// The scope is the name of the router's handler, so that two handlers of one topic are both given a message;
// name handlers for what they do, and keep the names. The id is that of the CloudEvent in the
// metadata, else the message's UUID, which publishers keep when they send again. A message without
// either is refused. The payload is never looked at.
//
// # What is given up
//
// Watermill cannot set a message aside by itself. A message that another delivery would not help, such
// as one whose attempts are used up, comes out of the middleware as an error for which [IsPoison]
// holds: use it as the filter of Watermill's PoisonQueueWithFilter, placed before this
// middleware, or set oncemsg.Config.DeadLetter. With neither, the broker delivers the message again
// and again.
//
// A handler that fails is refused to the broker at once, and many brokers deliver at once what is refused:
// its attempts may be used up within milliseconds. Put Watermill's middleware.Retry, which waits, before
// this one; each of its tries is an attempt. What waits for another reason (a copy in flight, a store that is
// down) waits here, and holds up what its subscriber delivers one after the other.
//
// # Limits
//
// The router decides where produced messages go, and their contexts are not kept: what is recorded is
// UUID, metadata and payload. Watermill has no lease to renew; a broker that delivers again while
// the handler runs does so, and its copy waits.
//
// Its messages have no time: to use oncemsg.Config.TooOld let publishers say it, see [Config.TimeMetadata].
//
// Watermill does not count deliveries. Attempts are counted by the store's record, and in the modes
// InTransaction and DropOnlyMayLose, where a failure leaves none, in the memory of this process.
//
// When the router is closed the contexts of its messages are done, and so are those of handlers; the router
// waits for them as long as its CloseTimeout says. What they come to is recorded nevertheless.
package oncewatermill

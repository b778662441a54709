// Package oncecloudevents makes receivers of CloudEvents, by the CloudEvents SDK, handle each event
// once. Two events with the same source and id are copies of one (CloudEvents 1.0, "id"); the
// first is handled, and the second is told the same.
//
//	receiver, err := oncecloudevents.New(oncecloudevents.Config{Guard: guard, Consumer: oncemsg.Config{Subscriber: "billing"}})
//	…
//	http.ListenAndServe(":8080", receiver.HTTPHandler(bill))
//
// [Receiver.HTTPHandler] serves HTTP. For the SDK's StartReceiver, over any protocol, [Receiver.Receive] wraps
// a function that returns an error or nil, and [Receiver.Reply] one that also returns an event: the reply
// is recorded and given to every copy, byte for byte in its data.
//
// What comes of an event is a decision of package oncemsg. [Result] turns it into an
// acknowledgement or its refusal, for all protocols; [HTTPResult] into a status, which tells a sender
// whether to send again:
//
//	200  done, now or before; or dead-lettered by oncemsg.Config.DeadLetter
//	503  not done: failed, being handled, or the store is down; send again
//	422  to send again would not help
//
// What the function's error means is said at oncemsg.Handler: unless it is Final or NoEffect, the event counts
// as tried, and after as many tries as the guard allows it is told to the sender as 422 for good. An event
// that the sender gives up on, or that its protocol does not deliver again, is lost to this package too: set
// oncemsg.Config.DeadLetter to keep those that have failed.
//
// The SDK's receivers have no lease to renew, and no way to say when to send again: over a broker,
// prefer its own adapter, which has, and the key is the same.
package oncecloudevents

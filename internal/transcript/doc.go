// Package transcript holds what clients of every door are answered, byte for byte: conversations
// in plain text, and a player that has them over TCP. The doors are the middleware of package
// oncehttp alone and under chi, the adapters for gin, Echo and Fiber, and the gateway as a process.
//
// # The format
//
// A file is a conversation of one behaviour, in blocks with empty lines between them:
//
//	# What this shows.
//	with required
//
//	> POST /things
//	> X-User: alice
//	> Idempotency-Key: "k"
//	>
//	> hello
//
//	< HTTP/1.1 201 Created
//	< Content-Type: application/json
//	< Date: {date}
//	< Content-Length: 7
//	< Connection: close
//	<
//	< {"n":1}
//
// "with" is a setting of the door, by the name of the gateway's flag and more. "except" names a door
// that answers otherwise, and why.
//
// Each request has a connection of its own. The player adds to the request line " HTTP/1.1" and
// the fields Host, Connection: close and, if there is a body and neither it nor Transfer-Encoding
// is given, Content-Length. All else is sent as it is written. Lines of the header end in CRLF, those
// of the body in LF, the last one in nothing. \xNN, \r and \\ are bytes, and {300*x} is 300 times
// x.
//
// A response is all bytes until the connection ends, written in the same way.
//
// Between a request and its response there may be others:
//
//	! running   the handler of the last request is running, and waits
//	! finish    it returns; the response comes next
//	! hang up   the client closes the connection instead of reading a response
//	! sleep 2s
//
// # What is not compared
//
// Of the bytes of a response only these: the value of Date, which must be a date, and the random
// part of a problem's instance, which must be a UUID. Of doors that are said to be [Door.Unordered]
// also the order in which fields of different names come, which means nothing (RFC 9110 section
// 5.3): the gateway's, whose fields come from two servers, and Fiber's, which is built on another
// server than net/http.
package transcript

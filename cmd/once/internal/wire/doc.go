// Package wire stands between a listener and net/http's server and refuses HTTP/1 messages that
// can be read in more than one way.
//
// Go's server is lenient where RFC 9112 lets it be: it reads lines that end in a bare LF, joins
// folded header lines, and if a request has both a Content-Length and a Transfer-Encoding it
// silently drops the first. Each of these is a way to make two parties disagree on where a
// request ends (request smuggling), and for a gateway that decides by a request's header whether
// its effect may happen again that is not acceptable. The server's handler cannot see any of it;
// so the bytes are followed before the server gets them.
//
// What is refused is replaced by a line that the server itself answers with 400 before it closes
// the connection.
package wire

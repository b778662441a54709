//go:build !unix

package upstream

// alive cannot tell here; requests may meet a connection that the server has just closed, and
// are in doubt then.
func (cn *conn) alive() bool { return true }

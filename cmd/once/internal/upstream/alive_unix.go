//go:build unix

package upstream

import "syscall"

// alive reports whether the server has neither closed the connection nor sent anything unasked.
// A request that is sent on a connection which the server has closed is in doubt for nothing, and
// this look, which does not wait, closes the window to the time that a packet travels.
func (cn *conn) alive() bool {
	sc, ok := cn.counted.Conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	alive := false
	// Control and not Read, which would mind the deadline of the request before.
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		// The socket does not block. What is read, if anything, nobody has asked for.
		_, err := syscall.Read(int(fd), b[:])
		alive = err == syscall.EAGAIN || err == syscall.EWOULDBLOCK
	})
	return alive && err == nil
}

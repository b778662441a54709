// Package partition is a network of two sides that can be parted, for stores that claim to survive
// that. It takes Linux, root, and the program ip (iproute2).
//
// Each side is a network namespace with an address of its own, and a process that is started on a
// side ([Network.Command]) sees that side's network alone. [Network.Cut] takes the cable out of a switch
// in the middle: packets vanish without an error, as when a switch fails. Processes on one side
// still reach each other.
package partition

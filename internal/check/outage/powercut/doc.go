// Package powercut is a disk whose power can be cut, for programs that claim to survive that.
//
// To kill a process proves nothing about durability: what it wrote is in the system's page cache,
// and a new process finds it there. A [Disk] is a file system (FUSE) that remembers beside the
// present state the state that is safe. [Disk.Cut] ends it, and returns a disk with what was safe.
//
//	d := powercut.New(powercut.Options{})
//	m := powercut.Mount(t, d, dir)    // real servers run on dir
//	…
//	d = d.Cut(nil)                    // every operation on dir now fails with EIO
//	… kill the servers …
//	m.Change(t, d)                    // dir is what they find after the power is back
//
// It takes Linux with /dev/fuse, and root. Tests that need it are skipped elsewhere and say so
// ([Require]); what a disk keeps of a file is tested without.
//
// # What is safe
//
// What is written to a file is safe once fsync or fdatasync of that file has returned, or, with
// O_SYNC and O_DSYNC, once the write has: the bytes that were written and the file's size. The same
// goes for what a file was truncated to, and for space that was allocated. What was written through
// a shared mapping counts as written when the system writes the pages back, at the latest in msync.
//
// The name of a file is safe apart from it. In the order that POSIX leaves open, and this package
// takes by default, a new, removed or renamed name is safe once fsync of its directory has
// returned, and of both directories if it was moved from one to another. Journalling file systems
// promise more; see [Options.NamesInOrder].
//
// Without a seed nothing else is kept: the worst that a disk may do. With one, chance decides, as
// on a real disk: see [Disk.Cut].
//
// # What is not modelled
//
// Owners, modes and times are safe at once, and the targets of symbolic links with their names.
// sync, syncfs and sync_file_range make nothing safe. Only the latest unsafe contents of a page
// can be kept, not those that it had in between. A sector (512 bytes) is never torn itself. There
// are no extended attributes, no device files, and no errors other than that of the cut; the disk is
// never full. What the system has in its page cache can still be read after the cut, but only by
// processes that are about to be killed.
//
// Everything is in memory. Pages that are the same in the present and the safe state are shared.
package powercut

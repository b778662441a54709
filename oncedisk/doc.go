// Package oncedisk keeps records in a directory of one machine, durably: the store for whoever has
// no database at hand, or wants none in the way of each request. It needs nothing but the
// standard library and a file system.
//
//	s, err := oncedisk.Open(oncedisk.Config{Dir: "/var/lib/app/once"})
//
// # What is promised
//
// A verb returns nil only when what it did was flushed to the disk (fdatasync). So an acknowledged
// claim survives the end of the process and a loss of power, as long as the disk keeps what it
// said it wrote. One process at a time may have the directory open, which flock ensures; a second
// one gets an error. [Open] makes the directory if it does not exist, but never its parent, and
// refuses a directory with other files in it.
//
// After a write or flush that failed, the store acknowledges nothing any more, reads included,
// until it is opened again: what the kernel could not write it may have dropped, and a later
// flush would say that all is well. Opening writes the last batch once more for the same reason.
//
// # The log
//
// Verbs append entries to a log of segment files, each entry with its length and a CRC-32C. One
// committer goroutine takes what has come while it was busy, writes it at once, flushes it, and
// lets all those verbs return: group commit, driven by the flushes themselves and by no timer.
// Segments are filled with zeros before they are used, since a flush that need not change the
// file's size or extents takes little more than half the time; that happens in the background,
// one segment ahead.
//
// A claim is an entry, and so is its end. An outcome's entry refers to the claim's, if that is in
// the same segment, rather than repeat key, owner and fingerprint: for an outcome of 1 KiB, all
// that is on the disk of an operation is about 130 bytes more than the key and outcome.
//
// Each entry has a stamp, which grows with every change in the store. Of all entries of a key the
// one with the largest stamp is its state, in whichever order the segments are read. An entry
// that ends or replaces one in an earlier segment says so, and when its own segment is deleted
// while the earlier one is still there, what it says is written anew: an outcome that is
// over must not give way to the claim that came before it.
//
// # The index
//
// In memory there is a table with a slot of 16 bytes for each record: 64 bits of a keyed hash of
// the key, and the place of its entry. It is between 3/4 and 7/8 full, so a record costs 18 to
// 23 bytes whatever its size. Keys and outcomes are read from the segments, and keys compared
// there, so that two keys with the same hash are kept apart. Claims in flight are in memory whole,
// about half a KiB each; claims in doubt only while somebody asks about them.
//
// When a segment is full, a hint file is written beside it, which says what the index needs to
// know. Opening reads the hints, and scans only segments that have none.
//
// # Expiry
//
// The log is written in the order of time, whatever the retentions, for the sake of one flush for
// all verbs that wait: with a segment for each class of expiry, a batch of k classes would need k
// flushes, and no claim says beforehand how long its outcome will be kept. Records of one
// retention, which is the usual case, expire in the order in which they were written, so that
// segments die whole, and expiry is the deletion of a file.
//
// With mixed retentions, a segment of which half is dead is emptied: claims in doubt go to the
// end of the log, and done records to carried segments, one for each span of expiry, which die
// whole again. So a record is carried once as a rule, dead records take at most about as much
// room as live ones, and the work is proportional to what is given back. Each time the store gets
// smaller by at least what was dead, so that expiry comes to rest. Nothing of this stops a verb:
// the index is locked in 256 parts, for one record at a time.
//
// # Damage
//
// At the end of the log there may be a batch that was being written when the power failed. It was
// not acknowledged, and is cut off. It is told from damage to acknowledged data by what follows: a
// batch is only begun when the one before was flushed, and when none follows at once, a mark is
// written, which says so. If anything before the last acknowledged entry does not have its
// checksum, [Open] fails with a [*DamageError] that names the file and the offset. What is damaged
// in a segment that has a hint is found when it is read, and is [once.ErrUnreadable] for that
// record alone. [Check] reads everything, and [Salvage] makes a new store of what is readable.
//
// Sad path: power fails right after a batch was acknowledged, before the mark reached the disk,
// and the disk lost part of that batch, though it said that it was flushed. That looks like a
// batch that was never finished.
//
// # The clock
//
// The store's clock starts at the wall clock when the store is opened, or at the latest instant
// recorded in the store if that is later, and follows the monotonic clock from then on. It never
// goes back, and setting the clock of a running machine does nothing. Across restarts the wall
// clock is all there is: if it was set ahead meanwhile, leases and retentions are over that
// much earlier, as if the machine had been off for so long; records in doubt that may never be
// forgotten stay in doubt in any case. If it was set back, the store's clock
// stands still over the restart. Where the monotonic clock stops while a machine is suspended, so
// does the store's.
//
// A claim that is in flight when the process ends stays so until its lease is over. Its owner was
// a caller in that process and will not be back, but what it started elsewhere may still run.
//
// # Full disks
//
// What is written goes to space that was allocated before. When no further segment can be
// allocated, claims are refused with [once.ErrFull] from then on, and the rest of the active segment
// is kept for the operations in flight, which were claimed before: by default room for some
// 50,000 outcomes of 1 KiB. If that is used up, completing fails, and may be tried again when
// there is space. File systems that do not overwrite in place, such as Btrfs and ZFS, need space
// even so, and a full disk is a failed write there. Expired segments are deleted also when
// the disk is full.
//
// # Limits
//
// The index must fit in memory. A segment is an open file: a million records of 1 KiB are 18 of them
// in the default size. An outcome may have up to a quarter of [Config].SegmentSize. Systems
// without flock (Windows, Plan 9) are not supported. Copying the directory of a running store is
// no backup; a snapshot of the file system is one.
package oncedisk

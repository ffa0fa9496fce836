// Who is about to be killed. A local file system answers EINTR to nobody who reads or writes a
// regular file: a signal with a handler waits until the call has ended, a fatal one ends the
// process. The kernel sends INTERRUPT for both, so the difference must be looked up.

#pragma once

#include <cstdint>

namespace lattice {

// Whether a fatal signal is pending for the thread `pid` (as fuse_in_header says it), or nothing
// can be known about it: pid 0 (a thread of another namespace) or an unreadable status.
bool dying(uint32_t pid);

}  // namespace lattice

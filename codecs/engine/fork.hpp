// Support for fork(). The child has a copy of the memory, but only the thread that forked: worker threads are
// gone, and a lock that another thread held is never released.
//
// Hence two rules. Short one-time initialisation runs under fork_lock(): a fork waits for it, so that the child
// never sees it half done. Objects that are held for long, such as workers and the lock around them, belong to
// one generation: code that finds one of another generation creates a new one and leaves the old one alone.
#pragma once

#include <cstdint>
#include <mutex>

namespace nacrith {

// Number of forks between the process that loaded the library and this one.
uint64_t generation();

// A fork holds it until parent and child continue. No other lock may be waited for while it is held.
std::mutex &fork_lock();

}  // namespace nacrith

// What a fork does to a library with threads: the child has the memory, but of the threads only the one that
// forked, so workers are gone and a lock that another thread held is never released.
//
// Two rules follow. What is set up once, in a moment, is set up under fork_lock(): a fork waits for it, so that
// the child never finds it halfway. What is held for long, workers and the lock around them, belongs to one
// generation: whoever finds another one makes it anew and leaves the old one alone.
#pragma once

#include <cstdint>
#include <mutex>

namespace nacrith {

// Number of forks between the process that loaded the library and this one.
uint64_t generation();

// Held by every fork until parent and child both go on. Nobody may wait for another lock under it.
std::mutex &fork_lock();

}  // namespace nacrith
